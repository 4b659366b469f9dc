"""iqaflow: the open, reproducible retraining pipeline for explainable image quality assessment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.core.version import VERSION

if TYPE_CHECKING:
    from iqaflow.infer.assessor import Assessor

__version__ = VERSION


def load(uri: str | Path = "champion") -> Assessor:
    """The model at `uri` (a folder, `models:/name@alias`, or `champion`), ready to `assess`, `compare` and `score`."""
    from iqaflow.infer import load as load_model

    return load_model(uri)

"""iqaflow: the open, reproducible retraining pipeline for explainable image quality assessment."""

from __future__ import annotations

from typing import Any

from iqaflow.core.version import VERSION

__version__ = VERSION


def load(uri: str = "champion") -> Any:
    """The model at `uri` (a folder, `models:/name@alias`, or `champion`), ready to `assess`, `compare` and `score`."""
    from iqaflow.infer import load as load_model

    return load_model(uri)

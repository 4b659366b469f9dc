"""iqaflow: the open, reproducible retraining pipeline for explainable image quality assessment."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def load(uri: str = "champion") -> Any:
    """The model at `uri` (a folder, `models:/name@alias`, or `champion`), ready to `assess`, `compare` and `score`."""
    from iqaflow.infer import load as load_model

    return load_model(uri)

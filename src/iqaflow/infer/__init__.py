"""Inference: load a model and ask it about images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iqaflow.infer.assessor import Assessor
    from iqaflow.model.location import Location


def load(uri: str | Path | Location = "champion") -> Assessor:
    """A model ready to `assess`, `compare` and `score`.

    `uri` is a folder (`models`, `models/stage1`, or any that holds `stage1/` and `calibration.json`), `champion`, or an
    MLflow `models:/name@alias`. Raises InputError or StageError in one sentence if there is none, DamagedError if a byte of it
    is not the one that was made.
    """
    from iqaflow.infer.assessor import Assessor
    from iqaflow.model.location import Location

    if not isinstance(uri, Location):
        from iqaflow.registry.versions import locate

        uri = locate(uri)
    return Assessor.load(uri)

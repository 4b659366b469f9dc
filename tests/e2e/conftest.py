"""A small calibrated model, made once by the real stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model(trained, small_config, tmp_path_factory) -> Path:
    """A folder with `stage1/` and `calibration.json`, calibrated by the real stage."""
    from iqaflow.calibrate import stage
    from iqaflow.workspace import Workspace

    root = tmp_path_factory.mktemp("calibrated") / "work"
    shutil.copytree(trained, root)
    stage.run(small_config, Workspace(root))
    return root / "models"

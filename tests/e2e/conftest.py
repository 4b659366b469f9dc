"""A small calibrated model, as the commands take it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model(calibrated) -> Path:
    """A folder with `stage1/` and `calibration.json`."""
    return calibrated / "models"

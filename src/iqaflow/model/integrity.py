"""Whether a model is the one that was made, byte by byte: asked before any weight is loaded, at every door.

A calibrated model is a folder such as `models/`: `stage1/` with a manifest of its own, `calibration.json`, and the manifest
that binds the two, written last by `iqaflow calibrate`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from iqaflow.core.errors import DamagedError, StageError
from iqaflow.core.hashes import sha256
from iqaflow.core.manifest import MANIFEST, read_manifest, write_manifest

CALIBRATION, STAGE1 = "calibration.json", "stage1"
RETRAIN, RECALIBRATE = "run `iqaflow train` again, or restore the folder from a backup", "run `iqaflow calibrate` again"


def verify_weights(folder: Path) -> dict[str, Any]:
    """The manifest of a model folder in Hugging Face layout whose every byte is right; {} where it has none, since it was not
    made here. Raises DamagedError for a file altered, missing or added.
    """
    if not (folder / MANIFEST).is_file():
        return {}
    return read_manifest(folder, verify=True, whole=True, remedy=RETRAIN)


def bind(models: Path) -> None:
    """Write the manifest of a calibrated model: this calibration belongs to these very weights."""
    write_manifest(models, [models / CALIBRATION, models / STAGE1 / MANIFEST], {"schema": "iqaflow.models/1"})


def verify_calibration(models: Path) -> None:
    """DamagedError unless calibration and weights' manifest are those that `bind` saw together."""
    listed = read_manifest(models, verify=True, remedy=RECALIBRATE)["files"]
    missing = {CALIBRATION, f"{STAGE1}/{MANIFEST}"} - set(listed)
    if missing:
        raise DamagedError(f"{models / MANIFEST} does not speak of {min(missing)}: {RECALIBRATE}.")


def fingerprint(models: Path) -> str:
    """The identity of a calibrated model: SHA-256 over weights' manifest and calibration. Raises StageError where there is no
    model, DamagedError where a byte of it is not right.
    """
    parts = [models / STAGE1 / MANIFEST, models / CALIBRATION]
    for path in (models / STAGE1 / "config.json", *parts):
        if not path.is_file():
            raise StageError(f"There is no model to register: {path} is missing; run `make run`.")
    verify_calibration(models)
    verify_weights(models / STAGE1)
    return identity(models)


def identity(models: Path) -> str:
    """`fingerprint` of files that were verified otherwise."""
    parts = [sha256(models / STAGE1 / MANIFEST), sha256(models / CALIBRATION)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()

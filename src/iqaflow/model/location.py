"""Where a model lies on this disk, verified as far as that is cheap; its weights are when they are loaded (`model.base`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iqaflow.core.errors import InputError
from iqaflow.core.manifest import MANIFEST, read_manifest
from iqaflow.model import integrity
from iqaflow.tasks import vocabulary
from iqaflow.tasks.vocabulary import Vocabulary


@dataclass(frozen=True)
class Location:
    """Folder of the weights, the calibration beside it if there is one, and what a result says about the model."""

    stage1: Path
    calibration: Path | None
    model: dict[str, Any]

    @property
    def vocabulary(self) -> Vocabulary:
        """What the model can be asked about."""
        return vocabulary.of_model(self.stage1)


def in_folder(folder: Path, uri: str) -> Location:
    """The model in `folder` or in its `stage1`, with a calibration that belongs to its weights. Raises InputError if there is
    none, DamagedError if it is not what its manifest says.
    """
    stage1 = _stage1(folder, uri)
    if _calibration(stage1) or _bound(stage1, MANIFEST):
        integrity.verify_calibration(stage1.parent)
    return at(stage1, {"uri": uri, "version": None, "run_id": None})


def of_version(folder: Path, uri: str, version: int, run_id: str | None) -> Location:
    """The model of a registered version, whose files were verified by its tags. Raises InputError if there is none."""
    return at(_stage1(folder, uri), {"uri": uri, "version": version, "run_id": run_id})


def at(stage1: Path, model: dict[str, Any]) -> Location:
    """The location of verified files."""
    return Location(stage1, _calibration(stage1), {**model, "base": _base(stage1)})


def _stage1(folder: Path, uri: str) -> Path:
    stage1 = folder / integrity.STAGE1 if (folder / integrity.STAGE1).is_dir() else folder
    if not (stage1 / "config.json").is_file():
        raise InputError(f"{uri} holds no model (no config.json): give a folder such as models/stage1, or `champion`.")
    return stage1


def _calibration(stage1: Path) -> Path | None:
    """The calibration of the weights in a folder `stage1`; weights in another folder beside it have none."""
    return _bound(stage1, integrity.CALIBRATION)


def _bound(stage1: Path, name: str) -> Path | None:
    path = stage1.parent / name
    return path if stage1.resolve().name == integrity.STAGE1 and path.is_file() else None


def _base(stage1: Path) -> str | None:
    return read_manifest(stage1, remedy=integrity.RETRAIN).get("base") if (stage1 / MANIFEST).is_file() else None

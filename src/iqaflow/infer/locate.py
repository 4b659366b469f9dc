"""Where a model lies: a folder, the champion, or any version in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iqaflow.core.errors import InputError
from iqaflow.core.manifest import MANIFEST, read_manifest
from iqaflow.model import integrity


@dataclass(frozen=True)
class Location:
    """Folder of the weights, the calibration beside it if there is one, and what a result says about the model."""

    stage1: Path
    calibration: Path | None
    model: dict[str, Any]


def locate(uri: str | Path) -> Location:
    """Find a model whose calibration belongs to its weights; these are verified when they are loaded (`model.base`). Raises
    InputError if the folder or the registry has none, DamagedError if it is not what its manifest says."""
    folder = Path(uri)
    version: dict[str, Any] = {"version": None, "run_id": None}
    if not folder.is_dir():
        from iqaflow.core.workspace import Workspace
        from iqaflow.track import registry

        found = registry.look_up(str(uri), Workspace.here())
        folder, version = found.folder, {"version": found.number, "run_id": found.run_id}
    stage1 = folder / "stage1" if (folder / "stage1").is_dir() else folder
    if not (stage1 / "config.json").is_file():
        raise InputError(f"{uri} holds no model (no config.json): give a folder such as models/stage1, or `champion`.")
    registered = version["version"] is not None  # and verified there, by its tags
    if not registered and (_calibration(stage1) or _bound(stage1, MANIFEST)):
        integrity.verify_calibration(stage1.parent)
    return at(stage1, {"uri": str(uri), **version})


def at(stage1: Path, model: dict[str, Any]) -> Location:
    """The location of verified files."""
    return Location(stage1, _calibration(stage1), {**model, "base": _base(stage1)})


def _calibration(stage1: Path) -> Path | None:
    """The calibration of the weights in a folder `stage1`; weights in another folder beside it have none."""
    return _bound(stage1, integrity.CALIBRATION)


def _bound(stage1: Path, name: str) -> Path | None:
    path = stage1.parent / name
    return path if stage1.resolve().name == integrity.STAGE1 and path.is_file() else None


def _base(stage1: Path) -> str | None:
    return read_manifest(stage1, remedy=integrity.RETRAIN).get("base") if (stage1 / MANIFEST).is_file() else None

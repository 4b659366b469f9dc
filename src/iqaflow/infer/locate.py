"""Where a model lies: a folder, the champion, or any version in the registry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iqaflow.ops.errors import InputError


@dataclass(frozen=True)
class Location:
    """Folder of the weights, the calibration beside it if there is one, and what a result says about the model."""

    stage1: Path
    calibration: Path | None
    model: dict[str, Any]


def locate(uri: str | Path) -> Location:
    """Find a model. Raises InputError if the folder or the registry has none."""
    folder = Path(uri)
    version: dict[str, Any] = {"version": None, "run_id": None}
    if not folder.is_dir():
        from iqaflow.track import registry
        from iqaflow.workspace import Workspace

        found = registry.look_up(str(uri), Workspace.here())
        folder, version = found.folder, {"version": found.number, "run_id": found.run_id}
    stage1 = folder / "stage1" if (folder / "stage1").is_dir() else folder
    if not (stage1 / "config.json").is_file():
        raise InputError(f"{uri} holds no model (no config.json): give a folder such as models/stage1, or `champion`.")
    calibration = next((path for path in (folder / "calibration.json", stage1.parent / "calibration.json")
                        if path.is_file()), None)
    return Location(stage1, calibration, {"uri": str(uri), **version, "base": _base(stage1)})


def _base(stage1: Path) -> str | None:
    manifest = stage1 / "manifest.json"
    return json.loads(manifest.read_text(encoding="utf-8")).get("base") if manifest.is_file() else None

"""Where a model lies: a folder, the champion, or any version in the registry."""

from __future__ import annotations

from pathlib import Path

from iqaflow.core.workspace import Workspace
from iqaflow.model import location
from iqaflow.model.location import Location
from iqaflow.registry import versions


def locate(uri: str | Path) -> Location:
    """Find a model whose calibration belongs to its weights; these are verified when they are loaded (`model.base`). Raises
    InputError if the folder or the registry has none, DamagedError if it is not what its manifest says.
    """
    folder = Path(uri)
    if folder.is_dir():
        return location.in_folder(folder, str(uri))
    version = versions.look_up(str(uri), Workspace.here())
    return location.of_version(version.folder, str(uri), version.number, version.run_id)

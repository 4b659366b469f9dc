"""A folder of photographs of your own: `source.kind=folder source.path=DIRECTORY`, searched recursively."""

from __future__ import annotations

from pathlib import Path

from iqaflow.core.config.schema import Source
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.sources.licences import Licences, is_licence
from iqaflow.sources.listing import Holding, located, walk


def bring(source: Source, workspace: Workspace) -> Holding:
    """Every file below the folder. Raises StageError if it is no folder or cannot be read."""
    return held(located(source.path or "", workspace), f"source.path={source.path}", source.license)


def path(origin: str, source: Source, workspace: Workspace) -> Path:
    """Where a photograph lies."""
    return located(source.path or "", workspace) / origin


def held(root: Path, where: str, licence: str, links: bool = False) -> Holding:
    """What the folder `root` holds; `where` names the parameter in messages."""
    if not root.is_dir():
        raise StageError(f"{where} is not a directory: give a folder of images.")
    files, left_out = walk(root, links)
    if not files and any(entry["file"] == "." for entry in left_out):
        raise StageError(f"{where}: {left_out[0]['reason']}; give yourself access or another folder.")
    licences = Licences(licence, [file for file in files if is_licence(file[0])])
    files = [file for file in files if not is_licence(file[0])]
    return Holding(files, licences, left_out + licences.unmatched({name for name, _ in files}))

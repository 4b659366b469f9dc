"""`iqaflow init`: a folder becomes a workspace, in which everything works that works in a clone.

It gets the parameters, the graph of stages, the small base, and git and DVC where they are not set up: DVC keeps the data, git
says which data belong together. What is there stays as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from iqaflow.core import files
from iqaflow.core.clients import git
from iqaflow.core.config import Config, params_file
from iqaflow.core.errors import InputError
from iqaflow.core.version import VERSION
from iqaflow.core.workspace import Workspace, shipped
from iqaflow.orchestrate import installed

COPIED = (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "models/base-tiny", "mlruns/.gitkeep")


def run(folder: Path, say: Callable[[str], None]) -> None:
    """Make `folder` a workspace. Raises InputError where it cannot be one."""
    if (folder / "src" / "iqaflow").is_dir():
        raise InputError(f"{folder} is a clone of the project, which is a workspace already.")
    Workspace(folder).refuse_odd_names()
    own = _has_repository(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [*(name for name in COPIED if _copy(name, folder)), *_write(folder)]
    except OSError as error:
        raise InputError(f"{folder} cannot be made a workspace: {error.strerror or error}.") from None
    if not own:
        git.run(folder, "init", "--quiet")
        git.run(folder, "add", "--", *written)
        git.commit(folder, f"Workspace of iqaflow {VERSION}")
        say(f"{folder} is a git repository now, because DVC needs one.")
    elif written:
        say(f"Commit these, so that retrainings on schedule have them: {' '.join(written)}")
    say(
        f"{folder} is a workspace of iqaflow {VERSION}. Next, in it: `iqaflow run`, or "
        f"`iqaflow assess PHOTOGRAPH --model models/base-tiny`."
    )


def _has_repository(folder: Path) -> bool:
    """Whether the folder is the root of a git repository. Raises InputError if it lies inside one, or there is no git."""
    top = git.root(next(place for place in (folder, *folder.parents) if place.is_dir()))
    if top is not None and top.resolve() != folder:
        raise InputError(f"{folder} lies inside the git repository {top}: choose a folder outside of any.")
    return top is not None


def _copy(name: str, folder: Path) -> bool:
    """Copy what came with the package, if it is not there; whether it was not."""
    source, target = shipped() / name, folder / name
    if target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return True


def _write(folder: Path) -> list[str]:
    """The files that are made for the workspace; the names of those that were not there."""
    texts = {"params.yaml": params_file.as_yaml(Config()), "dvc.yaml": installed.graph(), installed.NAME: installed.hashes()}
    written = [name for name in texts if not (folder / name).exists()]
    for name in written:
        files.write_text(folder / name, texts[name])
    return written

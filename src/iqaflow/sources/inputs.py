"""What else the annotation reads: label files, masks and plugins, by content, so that a changed one makes a changed data set."""

from __future__ import annotations

import hashlib
from pathlib import Path

from iqaflow.core import plugins
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.sources.cache import Cache
from iqaflow.sources.listing import located, walk


def digests(config: Config, workspace: Workspace, cache: Cache) -> dict[str, str]:
    """SHA-256 by name: `labelled.NAME` of every labelled data set, and what the regions are made from.

    Also `plugins`, where there are any: their code decides what is made. Raises StageError if one is missing or unreadable.
    """
    from iqaflow import regions

    plugged = plugins.digest()
    found = {plugins.NAME: plugged} if plugged else {}
    for labelled in config.source.labelled:
        where = f"source.labelled: {labelled.name}: path={labelled.path}"
        try:
            found[f"labelled.{labelled.name}"] = _digest(located(labelled.path, workspace), cache)
        except FileNotFoundError:
            raise StageError(f"{where} does not exist: give the label file or the folder that holds it.") from None
        except OSError as error:
            raise StageError(f"{where} cannot be read ({error.strerror}).") from None
    return found | regions.inputs(config, workspace)


def _digest(path: Path, cache: Cache) -> str:
    """Of a file: its own. Of a folder: of the names and contents of all files below it."""
    if not path.is_dir():
        return cache.digest(path)
    lines = [f"{name}\0{cache.digest(file)}\n" for name, file in walk(path)[0]]
    return hashlib.sha256("".join(lines).encode()).hexdigest()

"""Where the weights of an optional model lie, and what tells them from every other."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from iqaflow.core.errors import ConfigError
from iqaflow.core.workspace import Workspace

ENDS = 1 << 20  # bytes read at both ends of a large file


@dataclass(frozen=True)
class Weights:
    """`where` is what `from_pretrained` takes, with `revision` for a hub id; `name` is how rows of the tables call it."""

    where: str
    revision: str | None
    name: str

    @property
    def pinned(self) -> dict[str, str]:
        return {"revision": self.revision} if self.revision else {}

    @property
    def identity(self) -> str:
        """The hub id with its revision, or the folder's name with what it holds."""
        return self.name if self.revision else f"{self.name}:{_fingerprint(self.where)}"


def located(model: str | None, revision: str | None, key: str, workspace: Workspace) -> Weights:
    """A folder (relative to the workspace) or a hub id pinned by 40 hex digits. `key` is the parameter, such as
    `annotate.teacher`. Raises ConfigError in one sentence.
    """
    if not model:
        raise ConfigError(f"{key}.model is missing: name a folder of weights, or a hub id with {key}.revision.")
    folder = (workspace.root / Path(model).expanduser()).resolve()
    if folder.is_dir():
        return Weights(str(folder), None, folder.name)
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ConfigError(f"{key}.model: {model!r} is not a folder here; a model of the hub needs {key}.revision, 40 hex digits.")
    return Weights(model, revision, f"{model}@{revision}")


@functools.lru_cache(maxsize=4)
def _fingerprint(folder: str) -> str:
    """Hash of names, sizes, and the bytes of small files or both ends of large ones: a changed model is seen in a moment
    even if it has many gigabytes.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(folder).iterdir() if path.is_file()):
        size = path.stat().st_size
        digest.update(json.dumps([path.name, size]).encode())
        with path.open("rb") as file:
            digest.update(file.read(ENDS))
            file.seek(max(size - ENDS, ENDS))
            digest.update(file.read())
    return digest.hexdigest()[:16]

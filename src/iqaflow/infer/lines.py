"""JSON lines that survive a kill: written to FILE.part as they come, renamed to FILE when all are done.

The same command again goes on where the killed one stopped: images whose lines are there, made by the same model from the same
bytes, are not asked again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iqaflow.ops.errors import InputError
from iqaflow.ops.files import explain_full_disk, sha256

Result = dict[str, Any]


class Lines:
    """The lines of one file while it is written; use `writing`."""

    def __init__(self, part: Path, handle: Any, model: Result, resume: bool) -> None:
        self.part, self.handle = part, handle
        self.done: dict[str, Result] = {}
        handle.seek(0)
        kept = 0
        for line in handle if resume else ():
            try:
                result = json.loads(line)
                if not line.endswith(b"\n") or result["model"] != model:
                    break
                self.done[result["image"]["path"]] = result["image"]
            except (ValueError, KeyError, TypeError):
                break  # torn by a kill: from here on it is made again
            kept += len(line)
        handle.truncate(kept)
        handle.seek(kept)

    def has(self, path: Path) -> bool:
        """Whether a line of an earlier, killed run speaks of these very bytes."""
        known = self.done.get(str(path))
        return known is not None and path.is_file() and sha256(path) == known["sha256"]

    def add(self, result: Result) -> None:
        with explain_full_disk(self.part):
            self.handle.write(json.dumps(result).encode() + b"\n")
            self.handle.flush()


@contextmanager
def writing(path: Path, model: Result, resume: bool) -> Iterator[Lines]:
    """Lines that become `path` when the block ends without an error. `resume` keeps those of a killed run with the same `model`.
    Raises InputError if another run writes the same file, or if it cannot be written."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file to write, such as {path / 'results.jsonl'}.")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(part, "a+b")  # closed below, after the rename
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path} is being written by another run: wait for it, or give another name.") from None
        lines = Lines(part, handle, model, resume)
        yield lines
        with explain_full_disk(part):
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, path)

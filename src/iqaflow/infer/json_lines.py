"""JSON lines that survive a kill: written to FILE.part as they come, renamed to FILE when all are done.

The same command again goes on where the killed one stopped: images whose lines are there, made by the same model from the same
bytes, are not asked again. Other lines, of a file that changed or is not asked about now, are dropped.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iqaflow.core.errors import InputError
from iqaflow.core.files import explain_full_disk, json_lines
from iqaflow.core.hashes import sha256

Result = Mapping[str, Any]


class Lines:
    """The lines of one file while it is written; use `writing`."""

    def __init__(self, part: Path, handle: Any, model: Result, images: Sequence[Path]) -> None:
        self.part, self.handle = part, handle
        self.done: set[str] = set()
        wanted = {str(path) for path in images}
        kept = 0
        for line in json_lines(iter(handle.readline, b""), damaged="stop", ended=True):
            result = line.value
            try:
                if result["model"] != model:
                    break
                path, known = result["image"]["path"], result["image"]["sha256"]
                good = path in wanted and path not in self.done and _hashed(path) == known
            except (KeyError, TypeError):
                break  # not one of ours: from here on it is made again
            if good:
                if kept < line.start:  # moved up over lines that were dropped
                    handle.seek(kept)
                    handle.write(line.raw)
                    handle.seek(line.start + len(line.raw))
                self.done.add(path)
                kept += len(line.raw)
        handle.truncate(kept)
        handle.seek(kept)

    def has(self, path: Path) -> bool:
        """Whether a line of an earlier, killed run speaks of this image."""
        return str(path) in self.done

    def add(self, result: Result) -> None:
        with explain_full_disk(self.part):
            self.handle.write(json.dumps(result).encode() + b"\n")
            self.handle.flush()


@contextmanager
def writing(path: Path, model: Result, images: Sequence[Path]) -> Iterator[Lines]:
    """Lines that become `path` when the block ends without an error. Those of a killed run with the same `model` that speak of
    `images`, as they are now, are kept. Raises InputError if another run writes the same file, or if it cannot be written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file to write, such as {path / 'results.jsonl'}.")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # closed below, after the rename
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    with explain_full_disk(part), handle:  # what did not fit is written once more when the file is closed
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path} is being written by another run: wait for it, or give another name.") from None
        yield Lines(part, handle, model, images)
        handle.flush()
        os.fsync(handle.fileno())
        os.replace(part, path)


def _hashed(path: str) -> str | None:
    try:
        return sha256(Path(path))
    except OSError:
        return None  # what is wrong with it is said when it is asked about

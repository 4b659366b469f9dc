"""Files that are either whole or absent: write beside, flush, rename. Folders: see manifest.py.

Every output of the pipeline goes through here; what is appended to line by line, and so may end in half a line, is read by
`json_lines`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from iqaflow.core.errors import NoSpaceError

# writers that lose the number of the error: torch's zip files, safetensors
FULL_WORDS = re.compile(r"inline_container\S*:\d+\].*(unexpected pos|write failed)|os error (27|28|122)\b")


@contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn ENOSPC, EDQUOT and EFBIG, and what libraries make of them, into one sentence about `path`."""
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else errno.ENOSPC if FULL_WORDS.search(str(error)) else None
        if isinstance(error, NoSpaceError) or number not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoSpaceError(
            number, f"No space left while writing {path}: free some disk space and run the same command again"
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` atomically: a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    sync_directory(path.parent)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Strict JSON (no NaN), keys in the given order, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class JsonLine(NamedTuple):
    """One line of a file of JSON lines: its number from 1, where it begins (bytes), its bytes, and what it says."""

    number: int
    start: int
    raw: bytes
    value: Any


def json_lines(
    lines: Iterable[bytes], damaged: Literal["raise", "stop", "skip", "null"] = "raise", ended: bool = False
) -> Iterator[JsonLine]:
    """The lines of an open binary file (or any others) that hold JSON; blank ones are passed over, and so is a byte order mark.

    A `damaged` line, as a kill or a full disk leaves it, raises ValueError with its number, stops the reading, is skipped, or
    comes with the value None. `ended` stops before a last line without a line feed: it may still be written.
    """
    start = 0
    for number, raw in enumerate(lines, 1):
        if ended and not raw.endswith(b"\n"):
            return
        if raw.strip():
            value = None
            try:
                value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                if damaged == "raise":
                    why = f", column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else f": {error}"
                    raise ValueError(f"line {number}{why}") from None
                if damaged == "stop":
                    return
                if damaged == "skip":
                    start += len(raw)
                    continue
            yield JsonLine(number, start, raw, value)
        start += len(raw)

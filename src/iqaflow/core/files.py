"""Files that are either whole or absent: write beside, flush, rename. Folders: see manifest.py.

Every output of the pipeline goes through here.
"""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

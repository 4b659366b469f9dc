"""SHA-256 of files: several at once, and large ones once per file identity.

A small file is read every time. Of a large one the hash is remembered beside what identifies its content to the file system
(device, inode, size, time of change), in `~/.cache/iqaflow/hashes` (XDG_CACHE_HOME is respected): an 8B model is read once,
not at every start. A remembered hash can only be wrong for a file altered beneath the file system, as by a failing disk.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LARGE_BYTES = 64 * 2**20  # about 50 ms of hashing; below, remembering is not worth the trust
SETTLED_SECONDS = 2.0  # a file changed this recently may change again within one tick of the file system's clock
THREADS = 8


def sha256(path: Path) -> str:
    """SHA-256 of the content as it is now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file, remembered if it is large and has not been touched since."""
    before = path.stat()
    if before.st_size < LARGE_BYTES:
        return sha256(path)
    note = _notes() / _identity(before)
    try:
        return note.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        value = sha256(path)
    after = path.stat()
    touched = max(after.st_mtime, after.st_ctime)
    if _identity(before) == _identity(after) and time.time() - touched > SETTLED_SECONDS:
        _remember(note, value)
    return value


def digests(paths: Iterable[Path]) -> dict[Path, str]:
    """`digest` of each file; hashing releases Python's lock, so threads read in parallel."""
    paths = list(paths)
    if sum(path.stat().st_size for path in paths) < LARGE_BYTES:
        return {path: digest(path) for path in paths}
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(paths, pool.map(digest, paths), strict=True))


def _identity(status: os.stat_result) -> str:
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _notes() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "iqaflow" / "hashes"


def _remember(note: Path, value: str) -> None:
    from iqaflow.core.files import write_text

    try:
        write_text(note, value)
    except OSError:  # a read-only home, a full disk: the file is hashed again next time
        return

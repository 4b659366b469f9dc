"""Files that are either whole or absent: write beside, flush, rename; a directory counts only with its manifest.

Every output of the pipeline goes through here (design: "manifest last").
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
# writers that lose the number of the error: torch's zip files, safetensors
FULL_WORDS = re.compile(r"inline_container\S*:\d+\].*(unexpected pos|write failed)|os error (27|28|122)\b")


class DamagedError(RuntimeError):
    """Something on disk is missing, cut short or altered; the message names it and says what to do."""


class NoSpaceError(OSError):
    """The disk or quota is full; the message names the place. What was there before is untouched."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
            os.chmod(name, 0o644)
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


def commit_directory(work: Path, final: Path, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Make the finished directory `work` appear as `final`: hash every file, flush, manifest last, rename. From another
    file system it is copied beside `final` first.

    `extra` is stored in the manifest beside `files`. Returns the manifest.
    """
    with explain_full_disk(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        if work.stat().st_dev != final.parent.stat().st_dev:  # scratch has a disk of its own
            work = _carried(work, final.with_name(f".{final.name}.new"))
        for left in work.glob(f".{MANIFEST}.*"):  # by a process killed at this very place
            left.unlink()
        files = {}
        for path in sorted(p for p in work.rglob("*") if p.is_file() and p.name != MANIFEST):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            files[path.relative_to(work).as_posix()] = {"size": path.stat().st_size, "sha256": sha256(path)}
        manifest = {**(extra or {}), "files": files}
        write_json(work / MANIFEST, manifest)
        if final.exists():
            old = final.with_name(f".{final.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(final, old)
            os.replace(work, final)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(work, final)
        sync_directory(final.parent)
    return manifest


def _carried(work: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    try:
        shutil.copytree(work, place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(work)
    return place


def read_manifest(folder: Path, verify: bool = False) -> dict[str, Any]:
    """The manifest of a committed directory. Raises DamagedError if it is absent or, with `verify`, if any
    listed file is missing or differs in size or SHA-256."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{folder} has no valid manifest, so it is not complete: run its stage again.") from None
    if verify:
        for name, entry in files.items():
            file = folder / name
            if not file.is_file() or file.stat().st_size != entry["size"] or sha256(file) != entry["sha256"]:
                raise DamagedError(f"{file} is missing or does not match its manifest: run its stage again.")
    return manifest

"""What makes a folder count: `manifest.json`, written last, with size and SHA-256 of every file and a digest of itself.

    commit_directory(work, final)          # a finished folder appears as a whole or not at all
    read_manifest(final, verify=True)      # DamagedError if a byte of it is missing, altered or cut

A manifest is sealed: `digest` is the SHA-256 of everything else it says, so that no altered byte of the manifest itself
goes unnoticed. Those written before 2026-11-28 have neither `manifest` nor `digest` and are still read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from iqaflow.core.errors import DamagedError
from iqaflow.core.files import explain_full_disk, sync_directory, write_json
from iqaflow.core.hashes import digests

MANIFEST = "manifest.json"
FORMAT = 2  # under the key `manifest`; one flipped bit cannot take away both this key and `digest`


def seal(value: dict[str, Any]) -> dict[str, Any]:
    """`value` with a digest over all of it."""
    value = {"manifest": FORMAT, **value}
    return {**value, "digest": _digest(value)}


def read_sealed(path: Path, remedy: str = "run its stage again", unsealed: bool = False) -> dict[str, Any]:
    """A sealed JSON file; with `unsealed`, also one that never was. Raises DamagedError if it is absent, cut or altered;
    `remedy` says what to do then.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        never = unsealed and not {"manifest", "digest"} & value.keys()
        whole = never or (value.pop("digest") == _digest(value) and value["manifest"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise DamagedError(f"{path} is missing or damaged: {remedy}.")
    return value


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
        paths = [path for path in sorted(work.rglob("*")) if path.is_file() and path != work / MANIFEST]
        for path in paths:
            with path.open("rb") as file:
                os.fsync(file.fileno())
        manifest = write_manifest(work, paths, extra)
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


def write_manifest(folder: Path, paths: Iterable[Path], extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write the manifest of these files of a folder, and return it."""
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": value}
        for path, value in digests(paths).items()
    }
    manifest = seal({**(extra or {}), "files": files})
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path, verify: bool = False, whole: bool = False, remedy: str = "run its stage again") -> dict[str, Any]:
    """The manifest of a committed directory. Raises DamagedError if it is absent or altered; with `verify`, if any listed
    file is missing or differs in size or SHA-256; with `whole`, if the folder holds a file that is not listed.
    """
    if not (folder / MANIFEST).is_file():
        raise DamagedError(f"{folder} has no manifest, so it is not complete: {remedy}.")
    manifest = read_sealed(folder / MANIFEST, remedy, unsealed=True)
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        raise DamagedError(f"{folder / MANIFEST} lists no files: {remedy}.")
    if verify:
        _verify({folder / name: entry for name, entry in listed.items()}, remedy)
    if whole:
        strange = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        strange = [name for name in strange if name not in listed and name != MANIFEST]
        if strange:
            raise DamagedError(f"{folder / strange[0]} does not belong to what was made there: remove it, or {remedy}.")
    return manifest


def _verify(files: dict[Path, dict[str, Any]], remedy: str) -> None:
    try:
        wrong = [path for path, entry in files.items() if not path.is_file() or path.stat().st_size != entry["size"]]
        if not wrong:
            wrong = [path for path, value in digests(files).items() if value != files[path]["sha256"]]
    except (KeyError, TypeError):
        raise DamagedError(f"The manifest of {next(iter(files)).parent} is damaged: {remedy}.") from None
    if wrong:
        raise DamagedError(f"{wrong[0]} is missing or does not match its manifest: {remedy}.")


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _carried(work: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    try:
        shutil.copytree(work, place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(work)
    return place

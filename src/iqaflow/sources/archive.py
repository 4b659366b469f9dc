"""Unpacking without trust: nothing leaves its folder, no links, no devices, no half-written members.

Member names are checked before anything is written. A member appears under its name only when it is whole, so that a killed
run goes on with the missing ones.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from iqaflow.core.errors import InputError, StageError
from iqaflow.core.files import explain_full_disk
from iqaflow.core.progress import progress
from iqaflow.data.photographs import LeftOut
from iqaflow.sources.catalogue import inside
from iqaflow.sources.transfer import room

DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
Wants = Callable[[str], bool]


def unpack(archive: Path, kind: str, folder: Path, wants: Wants, what: str) -> list[LeftOut]:
    """Unpack the wanted members of a `zip` or (compressed) `tar` into `folder`.

    Returns members left out with the reason (links, devices, encrypted). Raises StageError for an archive that is damaged or
    has a member outside its folder; `what` names it in messages.
    """
    try:
        with explain_full_disk(folder):
            return {"zip": _zip, "tar": _tar}[kind](archive, folder, wants, what)
    except InputError as error:
        raise StageError(f"{what} is refused: its member {error}.") from None
    except (*DAMAGE, EOFError, RuntimeError) as error:
        with archive.open("rb") as file:
            start = file.read(24)
        why = str(error).partition("\n")[0].rstrip(":")
        raise StageError(
            f"{what} is no sound {kind} archive ({type(error).__name__}: {why}; it begins with {start!r}): check "
            "the address in the catalogue and run the same command again."
        ) from None


def _zip(archive: Path, folder: Path, wants: Wants, what: str) -> list[LeftOut]:
    left_out: list[LeftOut] = []
    with zipfile.ZipFile(archive) as packed:
        members = {}
        for member in packed.infolist():
            if member.is_dir():
                continue
            name = inside(member.filename)
            if not wants(name):
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                left_out.append({"file": name, "reason": "a link in the archive; links are refused"})
            elif member.flag_bits & 1:
                left_out.append({"file": name, "reason": "encrypted"})
            else:
                members[name] = member
        missing = {name: member for name, member in members.items() if not _there(folder / name, member.file_size)}
        room(folder, sum(member.file_size for member in missing.values()), f"Unpacking {what}")
        for name, member in progress(missing.items(), len(missing), _label(what)):
            with packed.open(member) as data:
                _write(data, folder / name)
    return left_out


def _tar(archive: Path, folder: Path, wants: Wants, what: str) -> list[LeftOut]:
    left_out: list[LeftOut] = []
    missing: dict[str, int] = {}
    with tarfile.open(archive) as packed:  # names first: a compressed tar has no directory to look into
        for member in packed:
            if member.isdir():
                continue
            name = inside(member.name)
            if not wants(name):
                continue
            if not member.isreg():
                left_out.append({"file": name, "reason": "a link or device in the archive; only plain files are unpacked"})
            elif not _there(folder / name, member.size):
                missing[name] = member.size
    room(folder, sum(missing.values()), f"Unpacking {what}")
    with tarfile.open(archive) as packed:
        wanted = (member for member in packed if member.isreg() and inside(member.name) in missing)
        for member in progress(wanted, len(missing), _label(what)):
            tarfile.data_filter(member, str(folder))  # the library's own check besides ours
            data = packed.extractfile(member)
            if data is not None:
                _write(data, folder / inside(member.name))
    return left_out


def _label(what: str) -> str:
    return f"unpack {what.rpartition('/')[2]}"


def _there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _write(data: IO[bytes], path: Path) -> None:
    with _beside(path) as beside, beside.open("wb") as file:
        shutil.copyfileobj(data, file, 1 << 20)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file that takes the name `path` only if the block succeeds; the commit of the folder flushes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name[-200:]}.unpacking")
    yield beside
    os.replace(beside, path)

"""Photographs from a published data set: `source.kind=download source.catalogue=bsds500`.

They lie in `data/downloads/NAME` (or below `source.path`, a disk that several checkouts may share): one folder per part, which
exists only when it is whole (manifest last), and `NAME.lock` with the checksum of everything that was ever downloaded, so that
a file that changes at its address is noticed. Archives are removed once they are unpacked.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from iqaflow.core import lock as lease
from iqaflow.core.clients.http import Client
from iqaflow.core.config.schema import Source
from iqaflow.core.errors import DamagedError, InputError, PipelineError, StageError
from iqaflow.core.files import write_json, write_text
from iqaflow.core.hashes import sha256
from iqaflow.core.manifest import commit_directory, read_manifest
from iqaflow.core.progress import Bar
from iqaflow.core.security.escaping import cell
from iqaflow.core.security.redaction import redact
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import LeftOut
from iqaflow.sources import archive, transfer
from iqaflow.sources.catalogue import Address, Catalogue, Part, addresses, inside, read
from iqaflow.sources.licences import TABLE, Licences, is_licence
from iqaflow.sources.listing import Holding, located

AT_ONCE = 8  # addresses of a list fetched side by side


def bring(source: Source, workspace: Workspace) -> Holding:
    """Download and unpack what is missing, then list it; nothing is asked of the network once everything is there.

    Raises InputError for a bad catalogue, StageError and PipelineError as `transfer.fetch`.
    """
    catalogue = read(source.catalogue or "", workspace)
    home = located(source.path or "data/downloads", workspace) / catalogue.name
    manifests = {part.folder: _manifest(home, part) for part in catalogue.parts}
    if None in manifests.values():
        with lease.hold(home / ".lease", f"download of {catalogue.name}", wait_seconds=1), transfer.client() as http:
            for part in catalogue.parts:  # looked at again: another process may have brought it meanwhile
                manifests[part.folder] = _manifest(home, part) or _bring_part(http, part, home)
    whole = {folder: manifest for folder, manifest in manifests.items() if manifest is not None}
    there = [(part, name) for part in catalogue.parts for name in sorted(whole[part.folder]["files"])]
    files = [
        (f"{part.folder}/{name}", home / part.folder / name)
        for part, name in there
        if part.is_photograph(name) and not is_licence(name)
    ]
    _write_coco_licences(catalogue, home, files)
    licences = [(f"{part.folder}/{name}", home / part.folder / name) for part, name in there if is_licence(name)]
    if (home / TABLE).is_file():
        licences.append((TABLE, home / TABLE))
    return Holding(
        files,
        Licences(catalogue.license, licences),
        left_out=[entry for manifest in whole.values() for entry in manifest["left_out"]],
        provenance=[
            {"from": part.url or part.name} | {key: str(value) for key, value in whole[part.folder]["download"].items()}
            for part in catalogue.parts
        ],
    )


@lru_cache(maxsize=8)
def _home(catalogue: str | None, place: str | None, workspace: Workspace) -> Path:
    return located(place or "data/downloads", workspace) / read(catalogue or "", workspace).name


def path(origin: str, source: Source, workspace: Workspace) -> Path:
    """Where a photograph lies; needs no network."""
    return _home(source.catalogue, source.path, workspace) / origin


def _bring_part(http: Client, part: Part, home: Path) -> dict[str, Any]:
    """Download and unpack one part; returns its manifest."""
    lock = _Lock(home.with_name(f"{home.name}.lock"))
    work = _work(part, home)
    (home / TABLE).unlink(missing_ok=True)  # of the parts as they were
    fetched = home / part.file
    download = _fetch(http, part, fetched, lock) if part.url else {}
    if part.kind == "list":
        left_out = _fetch_list(http, part, fetched, work, lock)
    elif part.kind == "file":
        left_out = []
        shutil.copyfile(fetched, work / inside(PurePosixPath(unquote(urlsplit(part.url).path)).name))
    else:
        left_out = _unpack(part, fetched, work)
    named: list[LeftOut] = [{"file": f"{part.folder}/{entry['file']}", "reason": entry["reason"]} for entry in left_out]
    manifest = commit_directory(work, home / part.folder, {"part": _wanted(part), "download": download, "left_out": named})
    if part.kind == "list":
        lock.entries[part.folder] = {name: entry["sha256"] for name, entry in manifest["files"].items() if name != TABLE}
    if part.url:
        lock.entries[part.url] = download
    lock.save()
    fetched.unlink(missing_ok=True)
    return manifest


def _work(part: Part, home: Path) -> Path:
    """Where a part is put together. A killed run goes on there, but not with what another version of the catalogue wanted."""
    key = "list" if part.kind == "list" else hashlib.sha256(part.model_dump_json().encode()).hexdigest()[:8]
    work = home / ".work" / part.folder / key
    for stale in work.parent.glob("*"):
        if stale != work:
            shutil.rmtree(stale)
    work.mkdir(parents=True, exist_ok=True)
    return work


def _fetch(http: Client, part: Part, fetched: Path, lock: _Lock) -> dict[str, Any]:
    """The file of a part, the same as the first time unless the catalogue itself says what it must be."""
    digest = sha256(fetched) if fetched.is_file() else ""  # there if a run was killed while it unpacked
    if not digest or part.sha256 not in (None, digest):
        with Bar(f"download {part.folder}") as bar:
            digest = transfer.fetch(http, part.url, fetched, part.bytes, part.sha256, part.md5, bar)
    known = lock.entries.get(part.url)
    if known and not (part.sha256 or part.md5) and known["sha256"] != digest:
        fetched.unlink()
        raise StageError(
            f"{part.url} changed since it was first downloaded (SHA-256 {digest} instead of {known['sha256']}): "
            f"if that is right, remove its entry from {lock.path}."
        )
    return {"bytes": fetched.stat().st_size, "sha256": digest}


def _unpack(part: Part, fetched: Path, work: Path) -> list[LeftOut]:
    try:
        left_out = archive.unpack(fetched, part.kind, work, part.wants, part.url)
    except StageError:
        fetched.unlink()  # it would fail again
        raise
    for inner in sorted(path for path in work.rglob("*") if path.is_file()):
        if any(fnmatchcase(inner.relative_to(work).as_posix(), pattern) for pattern in part.inner):
            left_out += archive.unpack(inner, "zip", inner.parent, lambda _: True, f"{inner.name} in {part.url}")
            inner.unlink()
    return left_out


def _fetch_list(http: Client, part: Part, listed: Path, work: Path, lock: _Lock) -> list[LeftOut]:
    """Fetch every address of a list; those that answer with something wrong are left out, unreachable ones stop the run."""
    try:
        text = listed.read_text(encoding="utf-8-sig") if part.url else "\n".join(part.urls)
    except UnicodeDecodeError:
        raise InputError(f"{part.url} is not a list of addresses in UTF-8.") from None
    wanted = addresses(text, part.url or f"the list {part.name}")
    known = lock.entries.get(part.folder, {})

    def outcome(address: Address) -> tuple[str, str]:
        path = work / address.file
        if not path.is_file():
            try:
                transfer.fetch(http, address.url, path, sha256=address.sha256 or known.get(address.file))
            except StageError as error:
                return "left out", redact(str(error))
            except PipelineError as error:
                return "unreachable", str(error)
        return "here", ""

    with ThreadPoolExecutor(AT_ONCE) as pool, Bar(f"download {part.folder}") as bar:
        answers = []
        for answer in pool.map(outcome, wanted):
            answers.append(answer)
            bar.update(len(answers), len(wanted))
    if failed := [why for what, why in answers if what == "unreachable"]:
        raise PipelineError(
            f"{len(failed)} of the {len(wanted)} addresses of {part.url or part.name} are out of reach; "
            f"the others are kept. First: {failed[0]}"
        )
    names = {address.file for address in wanted}
    for path in [path for path in work.rglob("*") if path.is_file()]:
        if path.relative_to(work).as_posix() not in names:
            path.unlink()
    rows = [f"{_cell(a.file)},{_cell(cell(a.license))},{_cell(cell(a.origin or a.url))}" for a in wanted]
    write_text(work / TABLE, "\n".join(["file,license,origin", *rows]) + "\n")
    return [
        {"file": address.file, "reason": why} for address, (what, why) in zip(wanted, answers, strict=True) if what == "left out"
    ]


def _write_coco_licences(catalogue: Catalogue, home: Path, files: list[tuple[str, Path]]) -> None:
    """`licenses.csv` of all photographs, from the JSON that names each one's: written once, as reading it takes long."""
    named = catalogue.coco_licences
    if not named or (home / TABLE).is_file():
        return
    try:
        tree = json.loads((home / named.part / named.file).read_text(encoding="utf-8"))
        licences = {entry["id"]: f"{entry['name']} ({entry['url']})" for entry in tree["licenses"]}
        images = {
            entry["file_name"]: (licences[entry["license"]], entry.get("flickr_url") or entry.get("coco_url", ""))
            for entry in tree["images"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(
            f"{home / named.part / named.file} names no licences as COCO does ({type(error).__name__}: {error}): "
            "check `coco_licences` of the catalogue."
        ) from None
    rows = [
        ",".join(map(_cell, (name, *map(cell, images[PurePosixPath(name).name]))))
        for name, _ in files
        if PurePosixPath(name).name in images
    ]
    write_text(home / TABLE, "\n".join(["file,license,origin", *rows]) + "\n")


def _manifest(home: Path, part: Part) -> dict[str, Any] | None:
    """The manifest of a part that is there as the catalogue wants it, else None."""
    try:
        manifest = read_manifest(home / part.folder)
    except DamagedError:
        return None
    return manifest if manifest.get("part") == _wanted(part) else None


def _wanted(part: Part) -> dict[str, Any]:
    return part.model_dump(mode="json")


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


class _Lock:
    """Checksums of what was downloaded first, by address, and by file name for lists."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.entries = {}
        except (OSError, ValueError) as error:
            raise StageError(
                f"{path} cannot be read ({type(error).__name__}): restore it, or remove it to record the checksums anew."
            ) from None

    def save(self) -> None:
        write_json(self.path, self.entries)

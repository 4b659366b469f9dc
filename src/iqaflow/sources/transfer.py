"""One file over HTTP, surely: continued where it broke off, tried again with growing waits, checked before it is used.

What has come lies in `NAME.part`, written straight to the disk, so that a killed download goes on from there. Beside it
`NAME.part.json` remembers which version of the file it is a part of: if the server has another one by now, it starts afresh.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.core.clients.http import LONGEST_RETRY_AFTER_S, Client, TryAgain, persist
from iqaflow.core.errors import InputError, NoSpaceError, PipelineError, StageError
from iqaflow.core.files import explain_full_disk, sync_directory, write_json
from iqaflow.core.version import VERSION

if TYPE_CHECKING:
    import httpx

    from iqaflow.core.progress import Bar

TRIES = 6  # failures in a row without a single new byte
WAIT_SECONDS = 1.0  # after the first; doubled each time
RESERVE = 64 << 20  # bytes left free on the disk
CHUNK = 1 << 20
log = logging.getLogger(__name__)


def client() -> Client:
    """A client that follows redirects and asks for the bytes as they are stored, so that they can be continued. User and
    password come from ~/.netrc, or the file that NETRC names, for the hosts it lists.
    """
    netrc = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    return Client(
        timeout_s=60.0,
        connect_s=20.0,
        auth=_netrc(netrc) if netrc.is_file() else None,
        follow_redirects=True,
        headers={"User-Agent": f"iqaflow/{VERSION}", "Accept-Encoding": "identity"},
    )


def _netrc(path: Path) -> httpx.NetRCAuth:
    import netrc

    import httpx

    try:
        return httpx.NetRCAuth(str(path))
    except (netrc.NetrcParseError, OSError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}): correct it.") from None


def fetch(
    http: Client,
    url: str,
    path: Path,
    size: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    bar: Bar | None = None,
) -> str:
    """Bring `url` to `path` and return its SHA-256; `path` appears only when it is whole and its checksums are right.

    Raises StageError where trying again is of no use (not found, forbidden, another size or checksum), NoSpaceError, or
    PipelineError when the server stays out of reach.
    """
    import httpx

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")

    def attempt() -> None:
        with explain_full_disk(part):
            _stream(http, url, part, size, bar)

    def announce(failure: TryAgain, wait_s: float) -> None:
        log.warning("iqaflow: %s: %s; trying again in %.0f s", url, failure, wait_s)

    try:
        persist(attempt, TRIES, WAIT_SECONDS, lambda: _size(part), announce)
    except (httpx.TooManyRedirects, httpx.InvalidURL) as error:
        why = f"{type(error).__name__}: {error}"
        raise StageError(f"{url} leads nowhere ({why}): check the address in the catalogue.") from None
    except TryAgain as failure:
        delay = f", and asks to wait {failure.retry_after_s:.0f} s" if failure.retry_after_s > LONGEST_RETRY_AFTER_S else ""
        raise PipelineError(
            f"{url} cannot be downloaded ({failure}{delay}): check the network and run the same command again; "
            "it goes on where it stopped."
        ) from None
    digest = _check(url, part, size, sha256, md5)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    _mark_path(part).unlink(missing_ok=True)
    sync_directory(path.parent)
    return digest


def room(folder: Path, needed: int, what: str) -> None:
    """Raises NoSpaceError unless `needed` bytes fit into the file system of `folder`."""
    free = shutil.disk_usage(folder).free
    if needed + RESERVE > free:
        raise NoSpaceError(
            errno.ENOSPC,
            f"{what} needs {_gigabytes(needed)}, but {folder} has only {_gigabytes(free)} "
            "free: free some disk space and run the same command again",
        )


def _stream(http: Client, url: str, part: Path, size: int | None, bar: Bar | None) -> None:
    """Append what is missing to `part`."""
    mark = _mark(part, url)
    have = _size(part) if mark is not None else 0
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if mark and mark.get("version"):
            headers["If-Range"] = mark["version"]
    with http.stream("GET", url, _fault, headers=headers) as response:
        code = response.status_code
        if code == 416 and response.headers.get("content-range", "").endswith(f"/{have}"):
            return  # killed between the last byte and the rename
        if code == 416:
            _mark_path(part).unlink(missing_ok=True)  # longer than the file is now: afresh
            raise TryAgain(_fault(response))
        if code >= 300:
            raise StageError(
                f"{url} answers {code} {response.reason_phrase}: "
                + ("the file is no longer there" if code in (404, 410) else "the server refuses it")
                + "; check the address in the catalogue."
            )
        if code != 206 or not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
            have = 0
        length = response.headers.get("content-length", "")
        total = have + int(length) if re.fullmatch(r"\d+", length) else None
        if size is not None and total is not None and total != size:
            raise StageError(f"{url} is {total} bytes, but the catalogue says {size}: it is not the file that is meant.")
        if total is not None:
            room(part.parent, total - have, url)
        if not have:
            part.unlink(missing_ok=True)
        write_json(_mark_path(part), {"url": url, "version": _version(response)})
        with part.open("ab", buffering=0) as file:
            for chunk in response.iter_raw():  # as they come: a larger chunk would be lost with the connection
                rest = memoryview(chunk)
                while rest:  # an unbuffered write may be a part of what it was given
                    rest = rest[file.write(rest) :]
                have += len(chunk)
                if bar and (megabytes := max(total or have, have) >> 20):
                    bar.update(have >> 20, megabytes, "MB")
    if total is not None and have < total:
        raise TryAgain(f"the connection ended after {have} of {total} bytes")


def _check(url: str, part: Path, size: int | None, sha256: str | None, md5: str | None) -> str:
    digests = [hashlib.sha256(), *([hashlib.md5(usedforsecurity=False)] if md5 else [])]
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            for digest in digests:
                digest.update(chunk)
    wanted = {"sha256": sha256, "md5": md5}
    wrong = [
        f"{digest.name} {digest.hexdigest()} instead of {wanted[digest.name]}"
        for digest in digests
        if wanted[digest.name] and digest.hexdigest() != wanted[digest.name]
    ]
    if size is not None and _size(part) != size:
        wrong.append(f"{_size(part)} bytes instead of {size}")
    if wrong:
        part.unlink()
        _mark_path(part).unlink()
        raise StageError(
            f"{url} has {' and '.join(wrong)}: it changed or was damaged on the way, and was removed; run the same "
            "command again, and if that does not help ask its publisher."
        )
    return digests[0].hexdigest()


def _fault(fault: httpx.Response | httpx.RequestError) -> str:
    if isinstance(fault, Exception):
        return f"{type(fault).__name__}: {fault}"
    return f"the server answers {fault.status_code} {fault.reason_phrase}"


def _version(response: httpx.Response) -> str:
    """What makes a continued download safe: a strong ETag, or the date of the last change."""
    tag: str = response.headers.get("etag", "")
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("last-modified", ""))


def _mark_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _mark(part: Path, url: str) -> dict[str, Any] | None:
    try:
        mark: dict[str, Any] = json.loads(_mark_path(part).read_text(encoding="utf-8"))
        return mark if mark["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"

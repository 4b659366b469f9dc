"""Examined files: each is decoded and hashed once, on all free cores, and again only when its size or time changes."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from iqaflow.core.config.schema import Source
from iqaflow.core.files import write_json
from iqaflow.core.hashes import sha256
from iqaflow.core.process import free_cores
from iqaflow.core.progress import progress
from iqaflow.core.version import VERSION
from iqaflow.data.images import SUFFIXES, ImageError, decode, perceptual_hash
from iqaflow.sources.listing import shown

MANY = 64  # from here on threads and a progress line are worth it
SAVE_SECONDS = 60.0  # a killed run of a day does not start again from nothing


class Examined(TypedDict, total=False):
    """What is known about a file: all but `reason` of a photograph, `reason` alone of what cannot be one, `sha256` alone of any
    other file.
    """

    sha256: str
    height: int
    width: int
    phash: str
    reason: str


class Cache:
    """Remembers by path, size and time of change. Only a cache: whatever cannot be read is examined again."""

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.source = path, source
        self.limits = [source.max_pixels, source.min_side_px, VERSION]
        self.new: dict[str, Examined] = {}
        self.saved = time.monotonic()
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            self.old: dict[str, Examined] = old["entries"] if old["limits"] == self.limits else {}
        except (OSError, ValueError, KeyError, TypeError):
            self.old = {}

    def examine(self, paths: Sequence[Path]) -> Iterator[Examined]:
        """For every path, in order: `sha256, height, width, phash`, or the `reason` why it is no photograph we can use."""
        fresh = sum(self._known(path) is None for path in paths)
        if fresh < MANY:
            yield from map(self._examine, paths)
            return
        # decoders and resizing leave the interpreter's lock, so threads do; decode() silences warnings, which threads undo
        with ThreadPoolExecutor(free_cores()) as pool, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for entry in progress(pool.map(self._examine, paths), len(paths), "photographs examined"):
                yield entry
                if time.monotonic() - self.saved > SAVE_SECONDS:
                    self._save({**self.old, **self.new})

    def digest(self, path: Path) -> str:
        """SHA-256 of any file, read once."""
        key = self._key(path)
        known = self.new.get(key) or self.old.get(key) or {"sha256": sha256(path)}
        self.new[key] = known
        return known["sha256"] if "sha256" in known else sha256(path)

    def save(self) -> None:
        if self.new != self.old:
            self._save(self.new)

    def _save(self, entries: dict[str, Examined]) -> None:
        self.saved = time.monotonic()
        write_json(self.path, {"limits": self.limits, "entries": dict(entries)})

    def _key(self, path: Path) -> str:
        stat = path.stat()
        return f"{shown(str(path))}:{stat.st_size}:{stat.st_mtime_ns}"

    def _known(self, path: Path) -> Examined | None:
        try:
            entry = self.old.get(self._key(path))
        except OSError:
            return None
        return entry if entry and ("phash" in entry or "reason" in entry) else None

    def _examine(self, path: Path) -> Examined:
        try:
            key, known = self._key(path), self._known(path)
            entry = known or look(path, self.source)
        except OSError as error:  # not remembered: it may be readable next time
            return {"reason": f"{path.name} cannot be read ({error.strerror or type(error).__name__})"}
        self.new[key] = entry
        return entry


def look(path: Path, source: Source) -> Examined:
    """Decode one file. Raises OSError if it cannot be read; any other fault becomes the entry's `reason`."""
    if path.suffix.lower() not in SUFFIXES:
        return {"reason": f"{path.name} has no image suffix"}
    data = path.read_bytes()
    try:
        image = decode(data, source.max_pixels, source.min_side_px)
    except ImageError as error:
        return {"reason": str(error)}
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "height": image.shape[0],
        "width": image.shape[1],
        "phash": perceptual_hash(image),
    }

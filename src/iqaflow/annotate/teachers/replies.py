"""Replies: read strictly, and kept in an append-only file so that no question is paid for twice.

`replies.jsonl` has one JSON object per line: key, prompt, reply, confidence. A line is appended under a lock and flushed
to disk, so a killed process can leave at most one torn line at the end, which the next writer cuts off. Processes on one
machine or one file system share the file; the reply written first for a key is the one everybody uses.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn, NotRequired, TypedDict, TypeGuard, TypeVar

from pydantic import BaseModel, ValidationError

from iqaflow.core.files import explain_full_disk, json_lines

LONGEST = 20_000  # characters of a reply that are looked at
Model = TypeVar("Model", bound=BaseModel)


class Entry(TypedDict):
    """A kept reply as its line holds it; `replaces`: it takes the place of an earlier one of its key."""

    key: str
    prompt: str
    reply: str
    confidence: float | None
    replaces: NotRequired[bool]


class ReplyError(ValueError):
    """A reply does not fit; the message says why, in words that can be sent back to the teacher."""


def read(schema: type[Model], text: str, context: Mapping[str, Any]) -> Model:
    """The one JSON object in a reply (models put fences or words around it), checked by `schema`. Raises ReplyError."""
    start, end = text.find("{"), text.rfind("}")
    if len(text) > LONGEST:
        raise ReplyError(f"it is longer than {LONGEST} characters")
    if start < 0 or end < start:
        raise ReplyError("it holds no JSON object")
    try:
        value = json.loads(text[start : end + 1], parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ReplyError("it is not one valid JSON object") from None
    try:
        return schema.model_validate(value, context=dict(context))
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'object'}: {fault['msg']}" for fault in error.errors(include_input=False)
        ]
        raise ReplyError("; ".join(faults[:3])[:300]) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Cache:
    """Replies by key, in one file per folder. Entries stay on disk; memory holds where each one begins."""

    def __init__(self, folder: Path) -> None:
        self.path, self.dropped = folder / "replies.jsonl", folder / "dropped.jsonl"
        self.places: dict[str, int] = {}
        self.seen = 0  # end of the last whole line read
        self.lock = threading.Lock()

    def get(self, key: str) -> Entry | None:
        """The entry of a key, from whichever process, or None."""
        with self.lock:
            if key not in self.places and self.path.is_file():
                with self.path.open("rb") as file:
                    self._catch_up(file)
            return self._entry(key)

    def put(self, key: str, prompt: str, reply: str, confidence: float | None, instead: Entry | None = None) -> Entry:
        """Keep a reply; returns the entry that holds for the key, which is an earlier one if there is one. An earlier one
        that no longer passes is given as `instead` and replaced, unless somebody has done so already.
        """
        entry: Entry = {"key": key, "prompt": prompt, "reply": reply, "confidence": confidence}
        with self.lock, _appending(self.path) as file:
            self._catch_up(file)
            kept = self._entry(key)
            if kept is None or kept == instead:
                if kept:
                    entry["replaces"] = True
                file.truncate(self.seen)  # whatever follows the last whole line was torn by a kill
                file.seek(self.seen)
                file.write(json.dumps(entry).encode() + b"\n")
                self._catch_up(file)
            return self._entry(key) or entry

    def drop(self, prompt: str, reason: str) -> None:
        """Note a reply that was of no use; nothing ever reads it as a reply."""
        with self.lock, _appending(self.dropped) as file:
            file.seek(0, os.SEEK_END)
            file.write(json.dumps({"prompt": prompt, "reason": reason}).encode() + b"\n")

    def counts(self) -> dict[str, Counter[str]]:
        """Replies kept and dropped, per prompt, over all runs of this workspace."""
        counted: dict[str, Counter[str]] = {"kept": Counter(), "dropped": Counter()}
        for name, path in (("kept", self.path), ("dropped", self.dropped)):
            if path.is_file():
                with path.open("rb") as file:
                    entries = [line.value for line in json_lines(file, damaged="skip")]
                counted[name].update(str(entry.get("prompt")) for entry in entries if isinstance(entry, dict))
        return counted

    def _catch_up(self, file: IO[bytes]) -> None:
        """Read what has been appended since, whole lines only."""
        file.flush()
        if os.fstat(file.fileno()).st_size < self.seen:
            self.places, self.seen = {}, 0  # somebody emptied it
        file.seek(self.seen)
        begin = self.seen
        for line in json_lines(file, damaged="null", ended=True):  # a damaged line is a reply less
            entry, place = line.value, begin + line.start
            if isinstance(entry, dict) and isinstance(entry.get("key"), str):
                if entry.get("replaces"):
                    self.places[entry["key"]] = place
                self.places.setdefault(entry["key"], place)
            self.seen = place + len(line.raw)

    def _entry(self, key: str) -> Entry | None:
        if key not in self.places:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(self.places[key])
                entry = next((line.value for line in json_lines([file.readline()], damaged="skip")), None)
        except OSError:
            entry = None
        if not _is_reply(entry, key):
            del self.places[key]  # the file was exchanged or damaged since: as if it had never been kept
            return None
        return entry


def _is_reply(entry: Any, key: str) -> TypeGuard[Entry]:
    return isinstance(entry, dict) and entry.get("key") == key and isinstance(entry.get("reply"), str)


@contextmanager
def _appending(path: Path) -> Iterator[IO[bytes]]:
    """The file open for reading and appending, alone: one writer at a time over all processes; flushed to disk after."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(path), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

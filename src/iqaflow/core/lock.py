"""One at a time: a file lock that says who holds it. The kernel frees it when its holder dies, so none goes stale."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iqaflow.core.errors import StageError
from iqaflow.core.files import explain_full_disk


class BusyError(StageError):
    """Another process holds the lease; the message names it."""


@contextmanager
def hold(path: Path, what: str, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lease `path` for `what`; raises BusyError when another holds it for longer than `wait_seconds`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(handle, what, wait_seconds)
        with explain_full_disk(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}).encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def held(path: Path) -> bool:
    """Whether a living process holds the lease."""
    if not path.is_file():
        return False
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def _acquire(handle: int, what: str, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise BusyError(_sentence(handle, what)) from None
            time.sleep(0.1)


def _sentence(handle: int, what: str) -> str:
    try:
        owner = json.loads(os.pread(handle, 4096, 0))
        age = _age(time.time() - owner["started"])
        who = f"process {owner['pid']} on {owner['host']}, started {age} ago"
    except (ValueError, KeyError, TypeError):
        who = "a process that is just starting"
    return f"Another {what} is at work in this checkout ({who}): wait for it, or stop it first."


def _age(seconds: float) -> str:
    minutes, seconds = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

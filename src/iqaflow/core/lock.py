"""One at a time: a file lock that says who holds it. The kernel frees it when its holder dies, so none goes stale.

The locking is filelock's; ours is what a refused process is told: who holds the lease, where, and since when.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iqaflow.core.errors import StageError
from iqaflow.core.files import explain_full_disk

POLL_SECONDS = 0.1
log = logging.getLogger(__name__)


class BusyError(StageError):
    """Another process holds the lease; the message names it."""


@contextmanager
def hold(path: Path, what: str, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lease `path` for `what`; raises BusyError when another holds it for longer than `wait_seconds`. Who holds it
    cannot take it a second time, not even in the same thread: it is one per piece of work, not per process.
    """
    from filelock import FileLock, Timeout  # takes a tenth of a second, which `--help` need not wait

    handles: list[int] = []  # the lock's own open file, lent while it is held

    def sign(handle: int) -> None:
        handles.append(handle)
        with explain_full_disk(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": time.time()}).encode(), 0)

    path.parent.mkdir(parents=True, exist_ok=True)
    # no soft lock where the file system knows none: its file would outlive its holder
    lock = FileLock(
        path, timeout=wait_seconds, poll_interval=POLL_SECONDS, thread_local=False, fallback_to_soft=False, on_acquired=sign
    )
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(_sentence(path, what)) from None
    log.debug("%s is ours, for %s", path, what)
    try:
        yield
        if lock.is_locked:  # a forked child that leaves the block holds nothing: filelock has closed its copy
            os.ftruncate(handles[0], 0)
    finally:
        lock.release()


def held(path: Path) -> bool:
    """Whether a living process holds the lease."""
    from filelock import FileLock, Timeout

    if not path.is_file():
        return False
    try:
        with FileLock(path, blocking=False, fallback_to_soft=False):
            return False
    except Timeout:
        return True


def _sentence(path: Path, what: str) -> str:
    try:
        owner = json.loads(path.read_bytes())
        age = _age(time.time() - owner["started"])
        who = f"process {owner['pid']} on {owner['host']}, started {age} ago"
    except (OSError, ValueError, KeyError, TypeError):
        who = "a process that is just starting"
    return f"Another {what} is at work in this checkout ({who}): wait for it, or stop it first."


def _age(seconds: float) -> str:
    minutes, seconds = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

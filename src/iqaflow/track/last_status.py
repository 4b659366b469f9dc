"""Runs end as their work ended: FINISHED, FAILED, or KILLED by Ctrl-C, SIGTERM or whoever cancels us."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from iqaflow.core import errors
from iqaflow.track import records, spool


@contextmanager
def true_ending(recorder: spool.Recorder) -> Iterator[None]:
    """End the run as its body ended: FINISHED, FAILED, or KILLED by Ctrl-C, SIGTERM or whoever cancels us."""
    status = "FINISHED"
    try:
        with _sigterm_raises():
            yield
    except BaseException as error:
        status = _status(error)
        if status != "FINISHED":
            recorder.put({"op": "tags", "values": {"error": errors.sentence(error)}})
        raise
    finally:
        recorder.put({"op": "end", "status": status, "time": records.milliseconds()})
        recorder.close()


def _status(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        known: dict[str | int | None, str] = {None: "FINISHED", 0: "FINISHED", 130: "KILLED", 143: "KILLED"}
        return known.get(error.code, "FAILED")
    return "FAILED" if isinstance(error, Exception) else "KILLED"


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM ends the body by SystemExit(143), unless somebody else (the trainer, Prefect) already listens."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

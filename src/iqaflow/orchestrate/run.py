"""`iqaflow run`: everything that is out of date, from photographs to the gate, under Prefect.

Holds the checkout's lease, lays overrides over params.yaml for the time of the run, asks DVC what is out of date, and
starts Prefect only if something is.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from iqaflow.core import files, lock
from iqaflow.core.config import Config, load
from iqaflow.core.errors import StageError
from iqaflow.core.security import escaping
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.orchestrate import dvc, installed
from iqaflow.orchestrate import overrides as journal
from iqaflow.orchestrate.services import lifecycle, reaper

LEAST_FREE_BYTES = 1 << 30
Retrain = Callable[..., dict[str, str]]
log = logging.getLogger(__name__)


def run(
    workspace: Workspace, retrain: Retrain, preset: str | None = None, overrides: tuple[str, ...] = (), force: bool = False
) -> int:
    """Bring the pipeline up to date; returns the exit code. `retrain` is the
    Prefect flow, called with `root` and `force`. Raises StageError when another run holds the checkout.
    """
    started = time.monotonic()
    escaping.guard()
    with _stopped_politely(), session(workspace, preset, overrides, force) as todo:
        if not todo:
            say(f"Everything is up to date ({time.monotonic() - started:.0f} s).")
            _where(workspace)
            return 0
        say(f"To do: {', '.join(todo)}, and whatever follows from it.")
        summary = _flow(workspace, retrain, force)
    _summarize(workspace, summary, time.monotonic() - started)
    return 0


@contextmanager
def session(workspace: Workspace, preset: str | None, overrides: tuple[str, ...], force: bool) -> Iterator[list[str]]:
    """The checkout, leased, healed and overridden for the block; yields what is to do. A block that ends well after
    there was something to do leaves the checkout marked as finished.
    """
    dvc.check(workspace)
    with lock.hold(workspace.state / "run.lock", "run"):
        journal.restore(workspace, say)
        config = load(workspace.params, preset, overrides)
        _enough_disk(workspace)
        reaper.settle(workspace)
        dvc.recover(workspace, say)
        installed.write_hashes(workspace)
        with journal.overridden(workspace, config):
            todo = ["everything, by --force"] if force else _todo(workspace, config)
            if todo:
                reaper.ensure(workspace)
            yield todo
            if todo:
                files.write_text(workspace.state / "finished", dvc.lock_key(workspace))


def say(text: str) -> None:
    """A line for the person at the terminal."""
    log.info("iqaflow: %s", text)


def _todo(workspace: Workspace, config: Config) -> list[str]:
    """Stages out of date, and `gate` when it has not judged this very result."""
    from iqaflow import sources

    sources.index(config, workspace)
    todo = list(dvc.stale(workspace))
    finished = workspace.state / "finished"
    judged = finished.read_text(encoding="utf-8").strip() if finished.is_file() else None
    return todo if todo or judged == dvc.lock_key(workspace) else ["gate"]


def _flow(workspace: Workspace, retrain: Retrain, force: bool) -> dict[str, str]:
    """The Prefect flow, in this process, on the running server or on one for the time of the run."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # we print; Prefect keeps the log
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    with lifecycle.prefect_server(workspace, say):
        return retrain(root=str(workspace.root), force=force)


def _enough_disk(workspace: Workspace) -> None:
    free = shutil.disk_usage(workspace.root).free
    if free < LEAST_FREE_BYTES:
        raise StageError(
            f"Only {free / 1e9:.2f} GB are free on the disk of {workspace.root}, and a run needs at least "
            f"{LEAST_FREE_BYTES / 1e9:.1f} GB: free some space and run the same command again."
        )


@contextmanager
def _stopped_politely() -> Iterator[None]:
    """SIGTERM (a cluster, a container) ends a run as Ctrl-C does: stages stopped, parameters restored, checkpoints kept."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _summarize(workspace: Workspace, summary: dict[str, str], seconds: float) -> None:
    print()
    for stage, what in summary.items():
        print(f"  {stage:<10} {what}")
    verdict = StageResult.read(workspace, "gate")
    if verdict is not None and verdict.markdown:
        print(f"\n{verdict.markdown.strip()}")
    print(f"\nDone in {seconds / 60:.1f} min.")
    _where(workspace)


def _where(workspace: Workspace) -> None:
    if workspace.report.is_file():
        print(f"Report: {workspace.report}")
    running = lifecycle.addresses(workspace)
    if running:
        print("Open:   " + "  ".join(f"{name} {address}" for name, address in running.items()))
    else:
        print("Open the Prefect and MLflow pages with `iqaflow up` (in a clone, `make up`).")

"""Makes the stores true when nobody is left to do it: a run killed with its whole process tree is KILLED in MLflow, what waits
in the spool is sent, and a dead flow run is closed in Prefect.

    python -m iqaflow.orchestrate.services.reaper CHECKOUT           # started by every run, outlives its kill -9
    python -m iqaflow.orchestrate.services.reaper CHECKOUT --stay    # as a service beside the others of `iqaflow up`
    python -m iqaflow.orchestrate.services.reaper CHECKOUT --settle  # once, now

One works per checkout. It only reads small files until something is due; then a child of its own does it with MLflow and
Prefect, which take 300 MB. It holds no port, and ends when the checkout disappears.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from iqaflow.core import environment, lock, open_runs, process
from iqaflow.core.log import set_up
from iqaflow.core.workspace import Workspace

SECONDS = float(os.environ.get("IQAFLOW_REAPER_SECONDS", "30"))  # between tries
TICK_SECONDS = 1.0
SETTLE_SECONDS = 300  # for one try
PATIENCE_SECONDS = 6 * 3600  # with a store that is away; the next run or verb goes on from there
log = logging.getLogger("iqaflow.orchestrate.services.reaper")  # the module is started as a program


def ensure(workspace: Workspace) -> None:
    """Have a reaper for the run that begins: outside its process tree, so that it survives what ends the run."""
    if not lock.held(_lease(workspace)):
        _start(workspace).wait()  # it forks at once


def serve(workspace: Workspace) -> str:
    """Start the reaper as a service, which ends on SIGTERM; its `process.identity`."""
    return process.identity(_start(workspace, "--stay").pid)


def settle(workspace: Workspace) -> None:
    """Make MLflow true, if anything is due and the store takes it; quick and silent when nothing is. Never raises because of
    the store: every verb that opens it begins with this.
    """
    for place in open_runs.places(workspace):
        if open_runs.due(place):
            from iqaflow.track import spool, store
            from iqaflow.track.run import reconcile

            try:
                if store.unreachable(store.uri(place)) is None:  # else nothing would be gained, and a new store made
                    reconcile(place)
            except Exception as error:  # whatever ails the store, the verb goes on
                spool.say(f"what earlier runs left could not be sent to MLflow ({' '.join(str(error).split())[:200]}).")


def main() -> None:
    """See the top of the file."""
    workspace, mode = Workspace(Path(sys.argv[1])), sys.argv[2] if len(sys.argv) > 2 else ""
    environment.prepare(workspace.root)
    set_up()
    if mode == "--settle":
        return _settle_all(workspace)
    stay = mode == "--stay"
    if not stay and os.fork():  # our parent goes on at once; init adopts the child
        os._exit(0)
    os.chdir("/")  # keep no file system busy
    stopped: list[int] = []
    if stay:
        signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    while _is_there(workspace) and not stopped:
        try:
            with lock.hold(_lease(workspace), "reaper", wait_seconds=2):
                _work(workspace, stay, stopped)
        except lock.BusyError:
            if not stay:
                return
            time.sleep(TICK_SECONDS)
            continue
        if not stay and not _at_work(workspace):  # a run that began in this moment relied on us
            return
    if stay and _is_there(workspace) and (_at_work(workspace) or _due(workspace)):
        ensure(workspace)  # `down` ends the service, not what is still to be done


def _start(workspace: Workspace, *mode: str) -> subprocess.Popen[str]:
    return process.start(
        [sys.executable, "-m", "iqaflow.orchestrate.services.reaper", str(workspace.root), *mode],
        workspace.root,
        log=workspace.state / "logs" / "reaper.log",
        detached=True,
    )


def _work(workspace: Workspace, stay: bool, stopped: list[int]) -> None:
    again, needed = float("-inf"), time.monotonic()
    while _is_there(workspace) and not stopped:
        at_work, is_due = _at_work(workspace), _due(workspace)
        if is_due and time.monotonic() >= again:
            _settle_in_child(workspace)
            again = time.monotonic() + SECONDS
            continue
        needed = time.monotonic() if at_work else needed
        if not stay and not at_work and (not is_due or time.monotonic() - needed > PATIENCE_SECONDS):
            return
        time.sleep(TICK_SECONDS)


def _settle_in_child(workspace: Workspace) -> None:
    try:
        subprocess.run(
            [sys.executable, "-m", "iqaflow.orchestrate.services.reaper", str(workspace.root), "--settle"],
            cwd=workspace.root,
            stdin=subprocess.DEVNULL,
            timeout=SETTLE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("reaper: %s", error)


def _settle_all(workspace: Workspace) -> None:
    settle(workspace)
    address = open_runs.prefect_address(workspace)
    if address is not None and open_runs.prefect_due(workspace):
        from iqaflow.orchestrate.services import servers

        os.environ |= servers.credentials(workspace, address)
        from iqaflow.orchestrate import zombies

        zombies.close_dead_runs()


def _due(workspace: Workspace) -> bool:
    return any(map(open_runs.due, open_runs.places(workspace))) or open_runs.prefect_due(workspace)


def _at_work(workspace: Workspace) -> bool:
    """Whether a run of this host is alive in the checkout: it holds the lease, or has MLflow runs open."""
    return _holds(workspace.state / "run.lock") or any(
        process.alive(entry.process) for place in open_runs.places(workspace) for entry in open_runs.notes(place)
    )


def _holds(run: Path) -> bool:
    """Whether who is named in a lease lives here. It is read, not tried: that could be in a run's way."""
    import psutil

    try:
        holder: dict[str, Any] = json.loads(run.read_text(encoding="utf-8"))
        running = psutil.Process(holder["pid"])
        return (
            holder["host"] == socket.gethostname()
            and running.create_time() <= holder["started"] + 1  # no later namesake
            and running.status() != psutil.STATUS_ZOMBIE
        )
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False


def _is_there(workspace: Workspace) -> bool:
    return workspace.state.is_dir()


def _lease(workspace: Workspace) -> Path:
    return workspace.state / "locks" / "reaper.lock"


if __name__ == "__main__":
    main()

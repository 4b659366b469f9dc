"""Child processes that never outlive their parent, and whose output is read line by line.

`start` puts a command in its own session and ties it to this process: when this process dies, even by kill -9, the kernel
kills the command. A stage, which `dvc` starts through a shell, watches its runner itself (`die_with_runner`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RUNNER = "IQAFLOW_RUNNER"  # "pid:start time" of the process that a stage must not outlive
PR_SET_PDEATHSIG = 1
logger = logging.getLogger(__name__)


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel (Linux) to kill this process when the thread that started it ends; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:  # it died before we asked
        os._exit(1)


def identity(pid: int | None = None) -> str:
    """`pid:start time`, which, unlike a pid, is never reused."""
    import psutil

    process = psutil.Process(pid)
    return f"{process.pid}:{process.create_time():.2f}"


def alive(who: str) -> bool:
    """Whether the very process with this identity runs (a zombie does not)."""
    import psutil

    pid, _, started = who.partition(":")
    try:
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(started)) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def die_with_runner(poll_seconds: float = 0.5) -> None:
    """End this process and its children soon after the pipeline (or the `dvc`) that started it is gone."""
    die_with([who for who in (os.environ.get(RUNNER), _dvc_above()) if who], poll_seconds)


def die_with(watched: Sequence[str], poll_seconds: float = 0.5) -> None:
    """End this process and its children soon after any of these processes (`identity`) is gone."""
    if watched:
        threading.Thread(target=_watch, args=(watched, poll_seconds), daemon=True, name="runner-watch").start()


def _watch(watched: Sequence[str], poll_seconds: float) -> None:
    while all(alive(who) for who in watched):
        time.sleep(poll_seconds)
    kill_tree(os.getpid())


def _dvc_above() -> str | None:
    """Identity of the `dvc` that runs us, if one does: it must not restart the stage beside an orphan of itself."""
    if "DVC_STAGE" not in os.environ:
        return None
    import psutil

    for parent in psutil.Process().parents():
        try:
            if any(Path(part).name.startswith("dvc") for part in parent.cmdline()[:3]):
                return identity(parent.pid)
        except psutil.Error:
            continue
    return None


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all below it, children first, so that none is left to be adopted."""
    import psutil

    try:
        family = psutil.Process(pid).children(recursive=True)[::-1] + [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def start(
    command: Sequence[str],
    cwd: Path,
    env: dict[str, str] | None = None,
    log: Path | None = None,
    detached: bool = False,
    handles: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Start `command` in its own session, tied to this process unless `detached`; output to `log` or to a pipe. It
    inherits the open files `handles`, under the same numbers.
    """
    logger.debug("starting in %s: %s", cwd, command)
    if not detached:
        command = [sys.executable, "-m", "iqaflow.core.process", str(os.getpid()), *command]
    environment = {**os.environ, **(env or {})}
    if log is None:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=handles,
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(  # type: ignore[return-value]
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=handles,
        )


def stream(command: Sequence[str], cwd: Path, line: Callable[[str], None], env: dict[str, str] | None = None) -> int:
    """Run `command`, hand each line of its output to `line`, return its exit code. Interrupted, it stops the command."""
    process = start(command, cwd, {**(env or {}), RUNNER: identity()})
    assert process.stdout is not None
    try:
        for text in process.stdout:
            line(text.rstrip("\n"))
        return process.wait()
    except BaseException:
        stop(process)
        raise


def stop(process: subprocess.Popen[str], grace_seconds: float = 20) -> None:
    """Interrupt a command's whole group (a trainer commits its checkpoint), then kill what is left of it."""
    for number, patience in ((signal.SIGINT, grace_seconds), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


if __name__ == "__main__":  # python -m iqaflow.core.process PARENT COMMAND...: tie COMMAND to PARENT, then become it
    die_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it, and its children would, too
    os.execvp(sys.argv[2], sys.argv[2:])


def free_cores(sample_seconds: float = 0.25) -> int:
    """Cores of this process's allowance that were idle over a short sample, at least 1: two busy threads on one
    free core are ten times slower than one.

    Where /proc/stat is absent all allowed cores count as free.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before = _idle_seconds()
    if before is None:
        return allowed
    time.sleep(sample_seconds)
    idle = (_idle_seconds() or 0.0) - before
    return max(1, min(allowed, round(idle / sample_seconds)))


def _idle_seconds() -> float | None:
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")

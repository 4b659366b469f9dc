"""Servers of our own, one process each (webserver.py): started on a socket that we open, waited for, kept, stopped.

The socket is opened here, before the server is started, so that nobody else can be listening where we send the secret;
and a server that a run started for itself can die and come back on it without a client being turned away meanwhile.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from iqaflow.core import process
from iqaflow.core.errors import PipelineError
from iqaflow.core.security import doorkeeper, secret
from iqaflow.core.security.loopback import HOST, listen
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.services import webserver

HEALTH = {"prefect": "/api/health", "mlflow": "/health"}
START_SECONDS = 120
RESTARTS = 5  # of one server in one run

Entry = dict[str, str]  # `who`: its process, `address`: http://127.0.0.1:port (not of the worker)


def start(name: str, workspace: Workspace, listening: socket.socket, tied: bool = False, schedules: bool = True) -> Entry:
    """Start `prefect` or `mlflow` on that socket; `tied`, it ends with this process; without `schedules` Prefect makes no
    runs of its own.
    """
    port = listening.getsockname()[1]
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "iqaflow.orchestrate.services.webserver", name, str(listening.fileno())]
    if name == "prefect":
        environment = _prefect(address, secret.of(workspace), schedules)
    else:
        from iqaflow.track import store

        store.ensure(workspace)  # two processes that make the database at once break it: made under the tracker's lock
        command += [f"sqlite:///{workspace.mlruns / 'mlflow.db'}", str(workspace.mlruns / "artifacts")]
        hosts = (f"{HOST}:{port}", f"localhost:{port}", *doorkeeper.allowed_hosts())
        environment = {
            webserver.SECRET: secret.of(workspace),
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(_origins(port)),
        }
    child = process.start(
        command, workspace.root, environment, log(workspace, name), detached=not tied, handles=(listening.fileno(),)
    )
    return {"who": process.identity(child.pid), "address": address}


def credentials(workspace: Workspace, address: str) -> dict[str, str]:
    """The environment in which a process speaks to our Prefect server at `address`, and to no other."""
    return {"PREFECT_API_URL": f"{address}/api", "PREFECT_API_AUTH_STRING": secret.of(workspace)}


def wait(name: str, entry: Entry, workspace: Workspace) -> None:
    """Wait until it answers. Raises PipelineError when it ends instead."""
    deadline = time.monotonic() + START_SECONDS
    while not well(name, entry):
        if not process.alive(entry["who"]) or time.monotonic() > deadline:
            raise PipelineError(f"The {name} server did not start: {_tail(log(workspace, name))}")
        time.sleep(0.2)


def well(name: str, entry: Entry) -> bool:
    """Whether this very server listens at its address, and answers."""
    return _listens(entry) and answers(entry["address"] + HEALTH[name], 2)


def answers(url: str, timeout_seconds: float) -> bool:
    """Whether anything speaks HTTP there and is well, even if it wants a password."""
    try:
        urllib.request.urlopen(url, timeout=timeout_seconds).close()  # noqa: S310 (http addresses, ours and the user's)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return True


def stop(who: str, patience_seconds: float = 15) -> None:
    """End the service with this identity and everything it started; do nothing if it is another process by now."""
    if not process.alive(who):
        return
    pid = int(who.partition(":")[0])
    os.killpg(pid, signal.SIGTERM)  # services lead their own sessions
    deadline = time.monotonic() + patience_seconds
    while process.alive(who) and time.monotonic() < deadline:
        time.sleep(0.1)
    if process.alive(who):
        process.kill_tree(pid)


def log(workspace: Workspace, name: str) -> Path:
    """Where the service's output goes."""
    return workspace.state / "logs" / f"{name}.log"


class Kept:
    """The Prefect server of a run: started anew at the same address, with the same database, when it is lost.

    `listening` is the socket of a server that the run started for itself. Without it (`entry` is a server of `up`), the
    run opens the address itself when that server is gone. When nothing helps, the run is interrupted; `lost` says why.
    """

    def __init__(self, workspace: Workspace, entry: Entry, listening: socket.socket | None, say: Callable[[str], None]) -> None:
        self.lost = ""
        self._workspace, self._entry, self._listening, self._say = workspace, entry, listening, say
        self._ours = listening is not None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="server-watch")
        self._thread.start()

    def close(self) -> None:
        """Stop watching, and stop the server if the run started it."""
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        starts = 0
        while not self._ending.wait(0.2):
            if process.alive(self._entry["who"]):
                continue
            starts += 1
            if starts > RESTARTS or not self._start_again():
                self._give_up()
                break
            self._say(f"The Prefect server was lost; it is started again (log: {log(self._workspace, 'prefect')}).")
        if self._ours:  # here, because the kernel ends a server with the thread that started it
            stop(self._entry["who"])
        if self._listening is not None:
            self._listening.close()

    def _start_again(self) -> bool:
        port = int(self._entry["address"].rpartition(":")[2])
        try:
            self._listening = self._listening or listen(port)
            if self._listening.getsockname()[1] != port:  # another program is there by now
                return False
            self._entry, self._ours = start("prefect", self._workspace, self._listening, tied=True, schedules=False), True
        except (OSError, RuntimeError) as error:
            self._say(f"The Prefect server cannot be started: {error}")
            return False
        return True

    def _give_up(self) -> None:
        self.lost = (
            f"The Prefect server was lost and cannot be started again ({_tail(log(self._workspace, 'prefect'))}): run "
            f"the same command again; it goes on where it stopped."
        )
        from prefect.settings import get_current_settings

        settings = get_current_settings()
        settings.client.max_retries = 0  # else every report of the end tries for minutes
        settings.internal.logging_level = "CRITICAL"  # and what cannot be sent is written to the terminal, after the sentence
        logging.raiseExceptions = False
        os.kill(os.getpid(), signal.SIGINT)


def _prefect(address: str, auth: str, schedules: bool) -> dict[str, str]:
    port = int(address.rpartition(":")[2])
    settings = {
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(_origins(port)),
        "PREFECT_API_URL": "",
        "PREFECT_API_AUTH_STRING": "",
    }  # the server itself asks nobody
    if not schedules:
        settings |= {"PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false", "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false"}
    return settings


def _origins(port: int) -> list[str]:
    own = [f"http://{HOST}:{port}", f"http://localhost:{port}"]
    return own + [f"{scheme}://{host}" for host in doorkeeper.allowed_hosts() for scheme in ("http", "https")]


def _listens(entry: Entry) -> bool:
    """Whether it is this very service that listens at its address: another program may have taken the port meanwhile."""
    import psutil

    port = int(entry["address"].rpartition(":")[2])
    try:
        service = psutil.Process(int(entry["who"].partition(":")[0]))
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for member in (service, *service.children(recursive=True))
            for connection in member.net_connections("tcp")
        )
    except psutil.Error:
        return False


def _tail(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    return f"{lines[-1] if lines else 'no output'} (log: {log})"

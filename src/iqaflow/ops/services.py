"""The pages a person looks at, and the worker that retrains on schedule: Prefect, MLflow, all on loopback.

    iqaflow up      # starts what is not running, registers the scheduled retraining, prints the addresses
    iqaflow down    # stops just those: a pid that another process has got since is left alone
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iqaflow.config import Config
from iqaflow.ops import files, lease, process
from iqaflow.ops.errors import PipelineError
from iqaflow.workspace import Workspace

HOST = "127.0.0.1"
PORTS = {"prefect": 4200, "mlflow": 5000}
HEALTH = {"prefect": "/api/health", "mlflow": "/health"}
START_SECONDS = 120


def up(config: Config, workspace: Workspace) -> None:
    """Start Prefect, MLflow and a worker where they are not running, register the deployment, print the addresses."""
    with lease.hold(workspace.state / "services.lock", "`iqaflow up`", wait_seconds=START_SECONDS):
        running = _running(workspace)
        for name in PORTS:
            if name not in running:
                running[name] = _start_server(name, workspace)
                _save(workspace, running)
        _wait("prefect", running["prefect"], workspace)
        os.environ["PREFECT_API_URL"] = running["prefect"]["address"] + "/api"
        sys.path.insert(0, str(workspace.root))
        from flows import deployments, living

        living.close_dead_runs()
        deployments.create_pool(config)
        if "worker" not in running:
            running["worker"] = _start_worker(config, workspace, running["prefect"]["address"])
            _save(workspace, running)
        deployments.register(config, workspace)
        _wait("mlflow", running["mlflow"], workspace)
        if not deployments.wait_for_worker(config, START_SECONDS):
            raise PipelineError(f"The Prefect worker does not answer; its log is {_log(workspace, 'worker')}.")
    print(f"Prefect  {running['prefect']['address']}   flow runs, logs, artifacts, the schedule "
          f"({config.schedule.cron!r}, {config.schedule.timezone})")
    print(f"MLflow   {running['mlflow']['address']}   runs, metrics, images, models")
    print(f"Worker   pool {config.schedule.work_pool!r}; start a retraining now: "
          f"PREFECT_API_URL={running['prefect']['address']}/api prefect deployment run scheduled-retrain/iqaflow")
    print("Stop them with `make down`.")


def down(workspace: Workspace) -> None:
    """Stop what `up` started."""
    with lease.hold(workspace.state / "services.lock", "`iqaflow up`", wait_seconds=START_SECONDS):
        running = _running(workspace)
        for name in ("worker", "mlflow", "prefect"):
            if name in running:
                _stop(running[name]["who"])
                print(f"Stopped {name}.")
        if not running:
            print("Nothing was running.")
        _path(workspace).unlink(missing_ok=True)


def addresses(workspace: Workspace) -> dict[str, str]:
    """Addresses of the running pages by name; empty when `up` has not been called."""
    return {name: entry["address"] for name, entry in _running(workspace).items() if "address" in entry}


def run_page(workspace: Workspace, run: str) -> str:
    """A run's page in the MLflow UI (at its usual port while `up` has not been called)."""
    base = addresses(workspace).get("mlflow", f"http://{HOST}:{PORTS['mlflow']}")
    return f"{base}/#/search-runs?searchFilter=attributes.run_id%3D%22{run}%22"


@contextmanager
def prefect_server(workspace: Workspace, say: Callable[[str], None]) -> Iterator[str]:
    """A Prefect API for the block: PREFECT_API_URL if set, else the running server, else one for the time of the block."""
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not _reachable(given):
            raise PipelineError(f"No Prefect server answers at PREFECT_API_URL={given}: start it, or unset the variable "
                                f"to have one started for the time of the run.")
        yield given
        return
    entry = _running(workspace).get("prefect")
    if entry and _healthy(entry["address"] + HEALTH["prefect"]):
        with _api(entry["address"]) as url:
            yield url
        return
    entry = _start_server("prefect", workspace, temporary=True)
    try:
        say(f"Prefect: {entry['address']} for the time of this run")
        with _api(entry["address"]) as url:
            import prefect  # noqa: F401  (takes seconds, meanwhile the server starts; reads the address, once, here)

            _wait("prefect", entry, workspace)
            try:
                yield url
            finally:
                _say_all()
    finally:
        _stop(entry["who"])


def free_port(preferred: int, say: Callable[[str], None] | None = None, what: str = "") -> int:
    """`preferred` if nothing listens there, else any free port of the loopback, with a sentence."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            chosen = probe.getsockname()[1]
            if chosen != preferred and say:
                say(f"Port {preferred} is in use, so {what} takes {chosen}.")
            return chosen
    raise PipelineError(f"No free port on {HOST}.")


def _start_server(name: str, workspace: Workspace, temporary: bool = False) -> dict[str, str]:
    # a passing server takes any port: two checkouts that start at once would both find the usual one free
    port = free_port(0 if temporary else PORTS[name], None if temporary else print, name)
    python = [sys.executable, "-m"]
    if name == "prefect":
        command = [*python, "prefect", "server", "start", "--host", HOST, "--port", str(port)]
        command += ["--no-scheduler", "--no-late-runs"] if temporary else []
    else:
        _create_store(workspace)
        command = [*python, "mlflow", "server", "--host", HOST, "--port", str(port),
                   "--backend-store-uri", f"sqlite:///{workspace.mlruns / 'mlflow.db'}",
                   "--artifacts-destination", str(workspace.mlruns / "artifacts"), "--workers", "1"]
    environment = {"PREFECT_UI_API_URL": f"http://{HOST}:{port}/api"} if name == "prefect" else {}
    return _start(name, command, workspace, environment, temporary, f"http://{HOST}:{port}")


def _create_store(workspace: Workspace) -> None:
    """Two processes that make the database at once break it, so it is made here if need be, under the tracker's lock."""
    from iqaflow.track import store

    store.ensure(workspace)


def _start_worker(config: Config, workspace: Workspace, address: str) -> dict[str, str]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", config.schedule.work_pool, "--type",
               "process", "--name", f"iqaflow-{socket.gethostname()}"]
    return _start("worker", command, workspace, {"PREFECT_API_URL": f"{address}/api"}, False, None)


def _start(name: str, command: list[str], workspace: Workspace, environment: dict[str, str], temporary: bool,
           address: str | None) -> dict[str, str]:
    child = process.start(command, workspace.root, environment, _log(workspace, name), detached=not temporary)
    entry = {"who": process.identity(child.pid)}
    return {**entry, "address": address} if address else entry


def _wait(name: str, entry: dict[str, str], workspace: Workspace) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (_listens(entry) and _healthy(entry["address"] + HEALTH[name])):
        if not process.alive(entry["who"]) or time.monotonic() > deadline:
            raise PipelineError(f"The {name} server did not start: {_tail(_log(workspace, name))}")
        time.sleep(0.2)


def _listens(entry: dict[str, str]) -> bool:
    """Whether it is this very service that listens at its address: another program may have taken the port meanwhile."""
    import psutil

    port = int(entry["address"].rpartition(":")[2])
    try:
        service = psutil.Process(int(entry["who"].partition(":")[0]))
        return any(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
                   for member in (service, *service.children(recursive=True)) for connection in member.net_connections("tcp"))
    except psutil.Error:
        return False


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own http address)
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _reachable(url: str) -> bool:
    """Whether anything speaks HTTP there, even if it wants a key."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10).close()  # noqa: S310 (the user's own address)
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return True


def _stop(who: str, patience_seconds: float = 15) -> None:
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


def _running(workspace: Workspace) -> dict[str, dict[str, str]]:
    """What services.json lists and still runs."""
    try:
        listed: dict[str, Any] = json.loads(_path(workspace).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: entry for name, entry in listed.items() if process.alive(entry["who"])}


def _save(workspace: Workspace, running: dict[str, dict[str, str]]) -> None:
    files.write_json(_path(workspace), running)


def _path(workspace: Workspace) -> Path:
    return workspace.state / "services.json"


def _log(workspace: Workspace, name: str) -> Path:
    return workspace.state / "logs" / f"{name}.log"


def _tail(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.is_file() else []
    return f"{lines[-1] if lines else 'no output'} (log: {log})"


def _say_all() -> None:
    """Prefect sends logs and events after the fact: let it finish before its server goes."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (APILogWorker, EventsWorker):
        service.drain_all(timeout=10)
    time.sleep(1)  # the server writes its own records after the fact, too


@contextmanager
def _api(address: str) -> Iterator[str]:
    os.environ["PREFECT_API_URL"] = f"{address}/api"
    try:
        yield os.environ["PREFECT_API_URL"]
    finally:
        os.environ.pop("PREFECT_API_URL", None)


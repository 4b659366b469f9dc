"""The pages a person looks at, and the worker that retrains on schedule: Prefect, MLflow, all on loopback.

iqaflow up      # starts what is not running, registers the scheduled retraining, prints the addresses
iqaflow down    # stops just those: a pid that another process has got since is left alone
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from iqaflow.core import files, lock, process
from iqaflow.core.config import Config
from iqaflow.core.errors import PipelineError
from iqaflow.core.security import loopback, secret
from iqaflow.core.security.loopback import HOST
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.services import reaper, servers
from iqaflow.orchestrate.services.servers import START_SECONDS, Entry

PORTS = {"prefect": 4200, "mlflow": 5000}


class Deployments(Protocol):
    """The scheduled retraining, as flows/deployments.py registers it with Prefect."""

    def create_pool(self, config: Config) -> None: ...

    def register(self, config: Config, workspace: Workspace) -> None: ...

    def wait_for_worker(self, config: Config, seconds: float) -> bool: ...


def up(config: Config, workspace: Workspace, deployments: Callable[[], Deployments]) -> None:
    """Start Prefect, MLflow and a worker where they are not running, register the deployment, print the addresses.
    `deployments` gives flows/deployments.py, once Prefect answers.
    """
    with lock.hold(workspace.state / "services.lock", "`iqaflow up`", wait_seconds=START_SECONDS):
        running = _running(workspace)
        for name, port in PORTS.items():
            if name not in running:
                with loopback.listen(port, print, name) as listening:
                    running[name] = servers.start(name, workspace, listening)
                _save(workspace, running)
        servers.wait("prefect", running["prefect"], workspace)
        access = servers.credentials(workspace, running["prefect"]["address"])
        os.environ |= access
        from iqaflow.orchestrate import zombies  # Prefect reads its server's address when it is imported

        zombies.close_dead_runs()
        scheduled = deployments()
        scheduled.create_pool(config)
        if "worker" not in running:
            running["worker"] = _start_worker(config, workspace, access)
            _save(workspace, running)
        if "reaper" not in running:
            running["reaper"] = {"who": reaper.serve(workspace)}
            _save(workspace, running)
        scheduled.register(config, workspace)
        servers.wait("mlflow", running["mlflow"], workspace)
        if not scheduled.wait_for_worker(config, START_SECONDS):
            raise PipelineError(f"The Prefect worker does not answer; its log is {servers.log(workspace, 'worker')}.")
    _say_where(config, workspace, running)


def down(workspace: Workspace) -> None:
    """Stop what `up` started."""
    with lock.hold(workspace.state / "services.lock", "`iqaflow up`", wait_seconds=START_SECONDS):
        running = _running(workspace)
        for name in ("worker", "mlflow", "prefect", "reaper"):  # the last of them closes what the others leave open
            if name in running:
                servers.stop(running[name]["who"])
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
    """A Prefect API for the block: PREFECT_API_URL if set, else the running server, else one for the time of the block.

    One of ours that is lost meanwhile is started again. Raises PipelineError when no server answers any more.
    """
    given, entry = os.environ.get("PREFECT_API_URL"), _running(workspace).get("prefect")
    ours = entry is not None and servers.well("prefect", entry)
    if given and not (ours and entry and given.rstrip("/") == f"{entry['address']}/api"):
        with _unless_lost(given):
            yield given
        return
    listening = None
    if not ours:
        listening = loopback.listen(0)  # any port: two checkouts that start at once would both want the usual one
        entry = servers.start("prefect", workspace, listening, tied=True, schedules=False)
        say(f"Prefect: {entry['address']} for the time of this run; {secret.path(workspace)} opens it")
    assert entry is not None
    kept = servers.Kept(workspace, entry, listening, say)
    try:
        with _environment(servers.credentials(workspace, entry["address"])):
            import prefect  # noqa: F401  (takes seconds, meanwhile the server starts; reads the address, once, here)

            servers.wait("prefect", entry, workspace)
            try:
                yield os.environ["PREFECT_API_URL"]
            finally:
                if not kept.lost:
                    _say_all()
    except BaseException:
        if kept.lost:
            raise PipelineError(kept.lost) from None
        raise
    finally:
        kept.close()


def _start_worker(config: Config, workspace: Workspace, access: dict[str, str]) -> Entry:
    command = [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        config.schedule.work_pool,
        "--type",
        "process",
        "--name",
        f"iqaflow-{socket.gethostname()}",
    ]
    child = process.start(command, workspace.root, access, servers.log(workspace, "worker"), detached=True)
    return {"who": process.identity(child.pid)}


def _say_where(config: Config, workspace: Workspace, running: dict[str, Entry]) -> None:
    login, prefect = secret.of(workspace), running["prefect"]["address"]
    user, _, password = login.partition(":")
    print(
        f"Prefect  {prefect}   flow runs, logs, artifacts, the schedule ({config.schedule.cron!r}, "
        f"{config.schedule.timezone}); log in with {login}"
    )
    print(f"MLflow   {running['mlflow']['address']}   runs, metrics, images, models; user {user}, password {password}")
    print(
        f"Worker   pool {config.schedule.work_pool!r}; start a retraining now: PREFECT_API_URL={prefect}/api "
        f'PREFECT_API_AUTH_STRING="$(cat {os.path.relpath(secret.path(workspace))})" '
        f"prefect deployment run scheduled-retrain/iqaflow"
    )
    print("Stop them with `iqaflow down` (in a clone, `make down`).")


def _running(workspace: Workspace) -> dict[str, Entry]:
    """What services.json lists and still runs."""
    try:
        listed: dict[str, Any] = json.loads(_path(workspace).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: entry for name, entry in listed.items() if process.alive(entry["who"])}


def _save(workspace: Workspace, running: dict[str, Entry]) -> None:
    files.write_json(_path(workspace), running)


def _path(workspace: Workspace) -> Path:
    return workspace.state / "services.json"


def _say_all() -> None:
    """Prefect sends logs and events after the fact: let it finish before its server goes."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (APILogWorker, EventsWorker):
        service.drain_all(timeout=10)
    time.sleep(1)  # the server writes its own records after the fact, too


@contextmanager
def _unless_lost(url: str) -> Iterator[None]:
    """A server of the user's: one sentence if it does not answer, now or in the end."""
    if not servers.answers(f"{url.rstrip('/')}/health", 10):
        raise PipelineError(
            f"No Prefect server answers at PREFECT_API_URL={url}: start it, or unset the variable "
            f"to have one started for the time of the run."
        )
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        raise PipelineError(
            f"The Prefect server at PREFECT_API_URL={url} was lost ({type(error).__name__}): start it, and run "
            f"the same command again; it goes on where it stopped."
        ) from None


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    former = {name: os.environ.get(name) for name in variables}
    os.environ |= variables
    try:
        yield
    finally:
        for name, value in former.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

"""Every port that the product opens, for real: Prefect, MLflow and a worker by `up`, the page by `demo`, a served model."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import mlflow

from iqaflow.core.security import secret
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.services import lifecycle
from tests import toy
from tests.flows.test_retrain import clean_environment

NAME, ALIAS = "precious", "champion"
SECONDS = 120


@dataclass
class Everything:
    """Where things are, and what a test may ask about them through the real stores."""

    workspace: Workspace
    ports: dict[str, int]  # prefect, mlflow, page, model
    temporary: Path  # of the page
    served: Path  # log of the served model
    mine: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    @property
    def login(self) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(secret.of(self.workspace).encode()).decode()}

    def prefect(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What Prefect's API answers the person."""
        address = f"http://127.0.0.1:{self.ports['prefect']}/api"
        if body is None:
            return self.mine.get(address + path, headers=self.login).raise_for_status().json()
        token = self.mine.get(f"{address}/csrf-token?client=me", headers=self.login).raise_for_status().json()["token"]
        answer = self.mine.post(
            address + path, json=body, headers={**self.login, "Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "me"}
        ).raise_for_status()
        return answer.json()

    def state(self) -> dict[str, Any]:
        """Everything that an attack would change."""
        client = mlflow.MlflowClient(f"sqlite:///{self.workspace.mlruns / 'mlflow.db'}")
        return {
            "flows": sorted(flow["name"] for flow in self.prefect("/flows/filter", {})),
            "deployments": sorted(item["name"] for item in self.prefect("/deployments/filter", {})),
            "runs": sorted(run["name"] for run in self.prefect("/flow_runs/filter", {}) if run["state_type"] != "SCHEDULED"),
            "pools": sorted(pool["name"] for pool in self.prefect("/work_pools/filter", {})),
            "champion": client.get_model_version_by_alias(NAME, ALIAS).version,
            "models": [(model.name, dict(model.tags)) for model in client.search_registered_models()],
            "uploads": sorted(path.name for path in self.temporary.rglob("*") if path.is_file()),
            "answers": self.served.read_text().count('"POST /invocations HTTP/1.1" 200'),
            "marker": self.marker.exists(),
        }

    @property
    def marker(self) -> Path:
        """What the attacker's shell step would make."""
        return self.workspace.root / "pwned"


@contextmanager
def running(folder: Path, model: Path, registered: Path) -> Iterator[Everything]:
    """All of it, on loopback, for the block: the page of a model folder, a served registered model."""
    workspace = toy.make(folder / "toy")
    environment = {**clean_environment(), "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir()
    children: list[subprocess.Popen[bytes]] = []

    def start(log: str, *command: object) -> Path:
        with (folder / log).open("wb") as file:
            children.append(
                subprocess.Popen(
                    [sys.executable, "-m", *map(str, command)],
                    cwd=folder,
                    env=environment,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
            )
        return folder / log

    try:
        done = subprocess.run(
            [sys.executable, "toy.py", "up"],
            cwd=workspace.root,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        page = start("page.log", "iqaflow.cli", "demo", "--model", model)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        served = start(
            "served.log",
            "mlflow",
            "models",
            "serve",
            "-m",
            registered,
            "--env-manager",
            "local",
            "--host",
            "127.0.0.1",
            "--port",
            port,
        )
        _precious(workspace)
        ports = {name: int(address.rpartition(":")[2]) for name, address in lifecycle.addresses(workspace).items()}
        ports |= {"page": int(_until(page, r"The page is at http://127\.0\.0\.1:(\d+)")), "model": port}
        _until(served, r"Uvicorn running on (.*)")
        yield Everything(workspace, ports, folder / "tmp", served)
    finally:
        subprocess.run(
            [sys.executable, "toy.py", "down"], cwd=workspace.root, env=clean_environment(), check=False, capture_output=True
        )
        for child in children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _precious(workspace: Workspace) -> None:
    """Two versions in the toy's registry; the alias is on the first."""
    client = mlflow.MlflowClient(f"sqlite:///{workspace.mlruns / 'mlflow.db'}")
    client.create_registered_model(NAME)
    for _ in range(2):
        client.create_model_version(NAME, "file:///nowhere")
    client.set_registered_model_alias(NAME, ALIAS, "1")


def _until(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + SECONDS
    while not (found := re.search(pattern, log.read_text())):
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)
    return found[1]

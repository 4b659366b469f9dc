"""`up` and `down` for real: servers on loopback, ports in use, a worker that runs the scheduled retraining, no stranger hurt."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from iqaflow.core import process
from iqaflow.core.security import loopback, secret
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.services import lifecycle, servers
from tests import toy
from tests.flows.test_retrain import clean_environment


def call(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "toy.py", *arguments],
        cwd=workspace.root,
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=600,
    )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, dict, str]]:
    """A toy checkout with its services up, MLflow's usual port being in use; what services.json says; what was printed."""
    workspace = toy.make(tmp_path_factory.mktemp("toy"))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((loopback.HOST, lifecycle.PORTS["mlflow"]))
            taken.listen()
        except OSError:
            taken.close()  # somebody else has it already: just as good
        done = call(workspace, "up")
    assert done.returncode == 0, done.stderr
    yield workspace, json.loads((workspace.state / "services.json").read_text()), done.stdout
    call(workspace, "down")


def test_pages_answer_on_loopback_only(up: tuple[Workspace, dict, str]) -> None:
    workspace, listed, said = up
    assert set(listed) == {"prefect", "mlflow", "worker", "reaper"}
    for name in ("prefect", "mlflow"):
        address = listed[name]["address"]
        assert address in said
        assert urllib.request.urlopen(request(workspace, address), timeout=30).status == 200
        port = int(address.rpartition(":")[2])
        family = [psutil.Process(int(listed[name]["who"].partition(":")[0]))]
        family += family[0].children(recursive=True)
        listening = [c.laddr for p in family for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        assert port in {laddr.port for laddr in listening}
        assert {laddr.ip for laddr in listening} == {loopback.HOST}


def test_a_port_in_use_is_one_sentence(up: tuple[Workspace, dict, str]) -> None:
    _, listed, said = up
    assert "Port 5000 is in use, so mlflow takes" in said
    assert not listed["mlflow"]["address"].endswith(":5000")


@pytest.mark.slow
def test_up_again_changes_nothing(up: tuple[Workspace, dict, str]) -> None:
    workspace, listed, _ = up
    done = call(workspace, "up")
    assert done.returncode == 0, done.stderr
    assert json.loads((workspace.state / "services.json").read_text()) == listed


def test_the_schedule_is_registered(up: tuple[Workspace, dict, str]) -> None:
    deployments = post(up, "/deployments/filter", {})
    assert [(item["name"], item["work_pool_name"]) for item in deployments] == [("iqaflow", "iqaflow")]
    schedule = deployments[0]["schedules"][0]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"], schedule["active"]) == ("0 3 * * 0", "UTC", True)
    assert deployments[0]["concurrency_limit"] == 1 or deployments[0]["global_concurrency_limit"]["limit"] == 1
    assert deployments[0]["concurrency_options"]["collision_strategy"] == "ENQUEUE"


@pytest.mark.slow
def test_the_worker_retrains_in_a_worktree_and_commits_to_a_branch(up: tuple[Workspace, dict, str]) -> None:
    workspace, *_ = up
    (workspace.root / "mine.txt").write_text("a person's unfinished work")
    status = toy.run(workspace.root, "git", "status", "--porcelain")
    [deployment] = post(up, "/deployments/filter", {})
    run = post(up, f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"overrides": ["train.lr=0.002"]}})
    deadline = time.monotonic() + 500
    while (state := get(up, f"/flow_runs/{run['id']}")["state"])["type"] not in ("COMPLETED", "FAILED", "CRASHED"):
        assert time.monotonic() < deadline, (workspace.state / "logs" / "worker.log").read_text()[-3000:]
        time.sleep(1)
    assert state["type"] == "COMPLETED", state["message"]
    [branch] = toy.run(workspace.root, "git", "branch", "--list", "retrain/*", "--format", "%(refname:short)").split()
    assert toy.run(workspace.root, "git", "diff", "--name-only", "HEAD", branch).split() == ["dvc.lock"]
    assert "0.002" in toy.run(workspace.root, "git", "show", f"{branch}:dvc.lock")
    assert toy.run(workspace.root, "git", "status", "--porcelain") == status, "the checkout is as it was"
    assert list((workspace.state / "worktrees").iterdir()) == []
    (workspace.root / "mine.txt").unlink()


@pytest.mark.slow
def test_the_secret_is_said_once_and_written_nowhere_else(up: tuple[Workspace, dict, str]) -> None:
    """After a scheduled retraining: not in a database, a log, a job's variables, a command line."""
    workspace, listed, said = up
    text = secret.of(workspace)
    password = text.partition(":")[2]
    assert f"log in with {text}" in said and f"user iqaflow, password {password}" in said
    assert 'PREFECT_API_AUTH_STRING="$(cat .iqaflow/secret)" prefect deployment run' in said
    forms = [password.encode(), base64.b64encode(text.encode()), base64.b64encode(password.encode())]
    kept = [path for path in workspace.root.rglob("*") if path.is_file() and any(form in path.read_bytes() for form in forms)]
    assert kept == [secret.path(workspace)]
    members = [psutil.Process(int(entry["who"].partition(":")[0])) for entry in listed.values()]
    lines = [" ".join(member.cmdline()) for process in members for member in (process, *process.children(recursive=True))]
    assert len(lines) >= 3 and password not in " ".join(lines)
    assert password not in json.dumps(get(up, "/admin/settings"))


def test_down_stops_just_those(up: tuple[Workspace, dict, str]) -> None:
    workspace, listed, _ = up
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        recycled = {**listed, "stranger": {"who": f"{stranger.pid}:1.00"}}  # its pid, but another's start time
        (workspace.state / "services.json").write_text(json.dumps(recycled))
        done = call(workspace, "down")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == "Stopped worker. Stopped mlflow. Stopped prefect. Stopped reaper.".split()
        assert not any(process.alive(entry["who"]) for entry in listed.values())
        assert stranger.poll() is None
        assert call(workspace, "down").stdout == "Nothing was running.\n"
    finally:
        os.kill(stranger.pid, signal.SIGKILL)
        stranger.wait()


def test_a_server_that_cannot_start_is_one_sentence(tmp_path: Path) -> None:
    """The last line of its log says why."""
    log = tmp_path / ".iqaflow" / "logs" / "prefect.log"
    child = process.start([sys.executable, "-c", "raise SystemExit('no such database')"], tmp_path, log=log)
    entry = {"who": process.identity(child.pid), "address": f"http://{loopback.HOST}:{loopback.free_port(0)}"}
    child.wait()
    with pytest.raises(RuntimeError, match="The prefect server did not start: no such database"):
        servers.wait("prefect", entry, Workspace(tmp_path))


def test_a_stranger_on_our_port_is_not_taken_for_our_server(tmp_path: Path) -> None:
    """Two starts may find the same port free; the loser's server dies, and must not use the winner's."""
    with http.server.ThreadingHTTPServer((loopback.HOST, 0), Healthy) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        child = process.start(
            [sys.executable, "-c", "import time; time.sleep(2); raise SystemExit('address in use')"],
            tmp_path,
            log=tmp_path / ".iqaflow" / "logs" / "prefect.log",
        )
        entry = {"who": process.identity(child.pid), "address": f"http://{loopback.HOST}:{stranger.server_port}"}
        threading.Thread(target=child.wait, daemon=True).start()
        with pytest.raises(RuntimeError, match="did not start: address in use"):
            servers.wait("prefect", entry, Workspace(tmp_path))
        stranger.shutdown()


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


def test_free_port_says_when_the_usual_one_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind((loopback.HOST, 0))
        taken.listen()
        port, said = taken.getsockname()[1], []
        assert loopback.free_port(port, said.append, "prefect") != port
        assert said and f"Port {port} is in use" in said[0]
        assert loopback.free_port(loopback.free_port(0), said.append) and len(said) == 1


def request(workspace: Workspace, url: str, body: dict | None = None) -> urllib.request.Request:
    """A request with the workspace's secret."""
    login = base64.b64encode(secret.of(workspace).encode()).decode()
    return urllib.request.Request(
        url,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )


def post(up: tuple[Workspace, dict, str], path: str, body: dict) -> dict | list:
    token = get(up, "/csrf-token?client=test")["token"]
    asked = request(up[0], f"{up[1]['prefect']['address']}/api{path}", body)
    asked.headers |= {"Prefect-csrf-token": token, "Prefect-csrf-client": "test"}
    return json.load(urllib.request.urlopen(asked, timeout=60))


def get(up: tuple[Workspace, dict, str], path: str) -> dict:
    return json.load(urllib.request.urlopen(request(up[0], f"{up[1]['prefect']['address']}/api{path}"), timeout=60))


def test_a_lost_server_of_the_users_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://{loopback.HOST}:{loopback.free_port(0)}/api")
    with (
        pytest.raises(RuntimeError, match="No Prefect server answers at PREFECT_API_URL="),
        lifecycle.prefect_server(Workspace(tmp_path), print),
    ):
        pass

"""What can happen to a run: two at once, kill -9 of any process in it, DVC's bookkeeping torn, a full disk, no git."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from iqaflow.core import lock, process
from iqaflow.core.config import Config, load
from iqaflow.core.config import params_file as params
from iqaflow.core.errors import InputError, StageError
from iqaflow.core.security import secret
from iqaflow.core.workspace import STAGES, Workspace
from iqaflow.orchestrate import dvc as graph
from iqaflow.orchestrate import overrides
from iqaflow.orchestrate import run as pipeline
from tests import toy
from tests.flows.test_retrain import clean_environment


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return toy.make(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def started(checkout: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is inside its first stage, with overridden parameters."""
    (checkout.root / "toy.log").unlink(missing_ok=True)
    (checkout.root / "toy.sleep").write_text("120")
    runner = subprocess.Popen(
        [sys.executable, "toy.py", "run", "--set", f"seed={time.time_ns() % 10**9}"],
        cwd=checkout.root,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=(checkout.root / "toy.err").open("wb"),
    )
    deadline = time.monotonic() + 300
    while "start annotate" not in toy.log(checkout):
        assert runner.poll() is None and time.monotonic() < deadline, (checkout.root / "toy.err").read_text()
        time.sleep(0.2)
    yield runner
    process.kill_tree(runner.pid)
    runner.wait()
    (checkout.root / "toy.sleep").write_text("0")


def family(runner: subprocess.Popen[bytes]) -> dict[int, str]:
    """Processes of the run: pid -> command line."""
    return {
        child.pid: " ".join(child.as_dict(["cmdline"], ad_value=[])["cmdline"])  # a zombie has none
        for child in psutil.Process(runner.pid).children(recursive=True)
    }


def left(pids: dict[int, str], seconds: float = 5) -> list[str]:
    """Which of these processes live after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        alive = [
            text for pid, text in pids.items() if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        ]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.1)


@pytest.mark.slow
def test_kill_the_runner(checkout: Workspace, started: subprocess.Popen[bytes]) -> None:
    """No writer survives, a second start says who is at work, the next one heals parameters and DVC and finishes."""
    original = load(checkout.params).seed
    second = subprocess.run(
        [sys.executable, "toy.py", "run"], cwd=checkout.root, env=clean_environment(), capture_output=True, text=True
    )
    assert second.returncode == 3
    assert f"process {started.pid} on " in second.stderr and second.stderr.count("\n") == 1
    assert load(checkout.params).seed != original or overrides.pending(checkout)

    members = family(started)
    assert any("dvc" in text and "repro" in text for text in members.values())
    assert any("toy.py annotate" in text for text in members.values())
    started.send_signal(signal.SIGKILL)
    started.wait()
    assert left(members) == []

    (checkout.root / ".dvc" / "tmp" / "rwlock").write_text("")
    (checkout.root / "toy.sleep").write_text("0")
    again = subprocess.run(
        [sys.executable, "toy.py", "run"], cwd=checkout.root, env=clean_environment(), capture_output=True, text=True, timeout=600
    )
    assert again.returncode == 0, again.stderr
    assert "restored params.yaml" in again.stderr and "rwlock" in again.stderr
    assert load(checkout.params).seed == 0
    import sqlite3

    with sqlite3.connect(checkout.state / "prefect" / "prefect.db") as database:
        states = [state for (state,) in database.execute("SELECT state_type FROM flow_run")]
    assert "RUNNING" not in states and "CRASHED" in states
    with sqlite3.connect(checkout.mlruns / "mlflow.db") as database:
        assert "RUNNING" not in [state for (state,) in database.execute("SELECT status FROM runs")]


@pytest.mark.slow
def test_kill_dvc_alone(checkout: Workspace, started: subprocess.Popen[bytes]) -> None:
    """Its stage dies with it, and the flow starts both again: never two writers."""
    members = family(started)
    dvc = next(pid for pid, text in members.items() if "dvc repro" in text)
    stage = {pid: text for pid, text in members.items() if "toy.py annotate" in text}
    os.kill(dvc, signal.SIGKILL)
    assert left(stage) == []


def server_of(runner: subprocess.Popen[bytes]) -> int:
    """The Prefect server that the run started for itself."""
    [pid] = [pid for pid, text in family(runner).items() if "iqaflow.orchestrate.services.webserver prefect" in text]
    return pid


@pytest.mark.slow
def test_the_run_goes_on_when_its_prefect_server_is_killed(checkout: Workspace, started: subprocess.Popen[bytes]) -> None:
    """It comes back at the same address, with the same database; nothing is lost and one sentence says so."""
    os.kill(server_of(started), signal.SIGKILL)
    (checkout.root / "toy.sleep").write_text("0")
    deadline = time.monotonic() + 30
    while not any("iqaflow.orchestrate.services.webserver prefect" in text for text in family(started).values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill_tree(next(pid for pid, text in family(started).items() if "toy.py annotate" in text))  # it is tried again
    assert started.wait(300) == 0, (checkout.root / "toy.err").read_text()
    lines = (checkout.root / "toy.err").read_text().splitlines()
    assert sum("The Prefect server was lost; it is started again" in line for line in lines) == 1
    assert all(line.startswith(("iqaflow: ", "gate: ")) for line in lines), lines
    import sqlite3

    with sqlite3.connect(checkout.state / "prefect" / "prefect.db") as database:
        latest = dict(
            database.execute(
                "SELECT flow.name, flow_run.state_type FROM flow_run JOIN flow "
                "ON flow.id = flow_run.flow_id ORDER BY flow_run.start_time"
            ).fetchall()
        )
    assert set(latest.values()) == {"COMPLETED"} and len(latest) == 1 + len(STAGES)


@pytest.mark.slow
def test_a_prefect_server_that_cannot_come_back_ends_the_run_in_a_sentence(
    checkout: Workspace, started: subprocess.Popen[bytes]
) -> None:
    """At once, with the parameters restored and no process left."""
    members = family(started)
    secret.path(checkout).chmod(0o644)  # so it is not used any more, and no server starts without it
    try:
        os.kill(server_of(started), signal.SIGKILL)
        assert started.wait(120) == 1
    finally:
        secret.path(checkout).chmod(0o600)
    lines = (checkout.root / "toy.err").read_text().splitlines()
    assert "The Prefect server was lost and cannot be started again" in lines[-1], lines
    assert all(line.startswith("iqaflow: ") for line in lines), lines
    assert toy.log(checkout) == ["start annotate"]  # nobody waited for the stage to end
    assert left(members) == []
    assert load(checkout.params).seed == 0 and not overrides.pending(checkout)


def test_ctrl_c_ends_politely(checkout: Workspace, started: subprocess.Popen[bytes]) -> None:
    members = family(started)
    started.send_signal(signal.SIGINT)
    assert started.wait(120) == 130
    assert left(members) == []
    assert load(checkout.params).seed == 0
    assert not overrides.pending(checkout)


def test_a_stage_is_fenced(checkout: Workspace) -> None:
    """A second copy of a stage refuses, naming the first."""
    with lock.hold(checkout.state / "locks" / "validate.lock", "stage validate"):
        done = subprocess.run(
            [sys.executable, "toy.py", "validate"], cwd=checkout.root, capture_output=True, text=True, env=clean_environment()
        )
    assert done.returncode == 3
    assert f"process {os.getpid()} on " in done.stderr


def test_eight_starts_one_holder(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom iqaflow.core import lock\n"
        "try:\n  with lock.hold(Path(sys.argv[1]), 'run'):\n    print('mine', flush=True); time.sleep(5)\n"
        "except lock.BusyError as error:\n  print(error)\n"
    )
    many = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run.lock")], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    said = sorted(one.communicate()[0].strip() for one in many)
    assert sum(text == "mine" for text in said) == 1
    assert all("Another run is at work in this checkout (" in text for text in said if text != "mine")


def test_a_dead_holder_is_succeeded(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom iqaflow.core import lock\n"
        "with lock.hold(Path(sys.argv[1]), 'run'):\n  os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run.lock")], check=False)
    assert json.loads((tmp_path / "run.lock").read_text())["pid"]
    assert not lock.held(tmp_path / "run.lock")
    with lock.hold(tmp_path / "run.lock", "run"):
        assert lock.held(tmp_path / "run.lock")


@pytest.mark.parametrize("content", [b"", b'{"data', b"\x00\x00"])
def test_torn_rwlock_is_removed(checkout: Workspace, content: bytes) -> None:
    path = checkout.root / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    said: list[str] = []
    graph.recover(checkout, said.append)
    assert not path.exists() and len(said) == 1


@pytest.mark.parametrize("content", [b"", b"stages: {annotate: [", b"\xff\xfe"])
def test_torn_dvc_lock_comes_back(tmp_path: Path, content: bytes) -> None:
    workspace = Workspace(tmp_path)
    lock = tmp_path / "dvc.lock"
    said: list[str] = []
    lock.write_bytes(content)
    graph.recover(workspace, said.append)
    assert not lock.exists() and "dvc.lock.damaged" in said[0], "nothing better is known"
    (workspace.state).mkdir()
    (workspace.state / "dvc.lock.good").write_text("schema: '2.0'\nstages: {}\n")
    lock.write_bytes(content)
    graph.recover(workspace, said.append)
    assert lock.read_text() == "schema: '2.0'\nstages: {}\n"


def test_an_edit_after_a_killed_run_is_kept(tmp_path: Path) -> None:
    params.write(tmp_path / "params.yaml", Config())
    workspace = Workspace(tmp_path)
    original = workspace.params.read_bytes()
    killed = overrides.overridden(workspace, load(workspace.params, None, ("seed=5",)))
    killed.__enter__()
    assert load(workspace.params).seed == 5
    edited = workspace.params.read_bytes() + b"# mine\n"
    workspace.params.write_bytes(edited)
    said: list[str] = []
    overrides.restore(workspace, said.append)
    assert workspace.params.read_bytes() == edited
    assert (workspace.state / overrides.ORIGINAL).read_bytes() == original
    assert str(workspace.state / overrides.ORIGINAL) in said[0]


def test_comments_survive_a_run_with_overrides(tmp_path: Path) -> None:
    params.write(tmp_path / "params.yaml", Config())
    workspace = Workspace(tmp_path)
    workspace.params.write_bytes(b"# my own words\n" + workspace.params.read_bytes())
    before = workspace.params.read_bytes()
    quick = load(workspace.params, "quick")
    with pytest.raises(RuntimeError), overrides.overridden(workspace, quick):
        assert load(workspace.params) == quick
        raise RuntimeError
    assert workspace.params.read_bytes() == before
    assert not overrides.pending(workspace)


def test_little_disk_is_one_sentence(checkout: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LEAST_FREE_BYTES", shutil.disk_usage(checkout.root).free + 10**12)
    with pytest.raises(StageError, match="GB are free on the disk of"), pipeline.session(checkout, None, (), force=False):
        pass


def test_no_git_is_one_sentence(checkout: Workspace, tmp_path: Path) -> None:
    copy = tmp_path / "archive"
    shutil.copytree(checkout.root, copy, ignore=shutil.ignore_patterns(".git", ".iqaflow", "mlruns"))
    with pytest.raises(InputError, match="is not a git repository"):
        graph.check(Workspace(copy))

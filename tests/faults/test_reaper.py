"""After kill -9 of a whole run the stores come true with nobody doing anything; and every verb makes them true first."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from iqaflow.core import lock, open_runs, process
from iqaflow.core.config import Config
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.services import reaper
from iqaflow.track import spool, stage_run, store
from tests import toy
from tests.flows.test_retrain import clean_environment

LIMIT_SECONDS = 120


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return toy.make(tmp_path_factory.mktemp("toy"))


def begun(checkout: Workspace, sleep_seconds: int = 300) -> subprocess.Popen[bytes]:
    """A run inside its first stage, both its MLflow runs open."""
    (checkout.root / "toy.log").unlink(missing_ok=True)
    (checkout.root / "toy.sleep").write_text(str(sleep_seconds))
    runner = subprocess.Popen(
        [sys.executable, "toy.py", "run", "--force"],
        cwd=checkout.root,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=(checkout.root / "toy.err").open("wb"),
    )
    until(lambda: "start annotate" in toy.log(checkout), 300)
    return runner


def until(happened: Callable[[], object], seconds: float = LIMIT_SECONDS) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def reapers(workspace: Workspace) -> list[psutil.Process]:
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if "iqaflow.orchestrate.services.reaper" in (each.info["cmdline"] or []) and str(workspace.root) in each.info["cmdline"]
    ]


def statuses(workspace: Workspace) -> list[str]:
    with closing(sqlite3.connect(workspace.mlruns / "mlflow.db")) as database:
        return [status for (status,) in database.execute("SELECT status FROM runs ORDER BY start_time")]


@pytest.mark.slow
def test_a_run_killed_with_its_whole_tree_is_killed_in_mlflow_too(checkout: Workspace) -> None:
    runner = begun(checkout)
    assert [status for status in statuses(checkout) if status == "RUNNING"] == ["RUNNING", "RUNNING"]
    [mine] = reapers(checkout)
    assert mine.pid not in {child.pid for child in psutil.Process(runner.pid).children(recursive=True)}
    assert mine.net_connections() == [] and mine.cwd() == "/" and mine.memory_info().rss < 60e6
    process.kill_tree(runner.pid)
    runner.wait()
    until(lambda: "RUNNING" not in statuses(checkout))
    assert statuses(checkout)[-2:] == ["KILLED", "KILLED"]
    until(lambda: not reapers(checkout), 30)


@pytest.mark.slow
def test_the_reaper_ends_with_a_run_that_ends_well_and_the_next_run_tells_what_was_left(checkout: Workspace) -> None:
    """The next run has nothing to do itself."""
    runner = begun(checkout, sleep_seconds=1)
    assert runner.wait(300) == 0, (checkout.root / "toy.err").read_text()
    until(lambda: not reapers(checkout))
    killed(checkout)
    spool.spool(
        checkout,
        [
            {"op": "create", "run": "local-1", "experiment": "iqaflow", "name": "away", "parent": None, "tags": {}, "time": 1},
            {"op": "end", "run": "local-1", "status": "FINISHED", "time": 2},
        ],
    )
    assert "RUNNING" in statuses(checkout)
    again = subprocess.run(
        [sys.executable, "toy.py", "run"], cwd=checkout.root, env=clean_environment(), capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0 and "Everything is up to date" in again.stderr
    assert "RUNNING" not in statuses(checkout) and statuses(checkout)[0] == "FINISHED" and not open_runs.due(checkout)


def flow_states(workspace: Workspace) -> list[str]:
    with closing(sqlite3.connect(workspace.state / "prefect" / "prefect.db")) as database:
        return [state for (state,) in database.execute("SELECT state_type FROM flow_run")]


@pytest.mark.slow
def test_prefect_is_told_while_its_server_runs(checkout: Workspace) -> None:
    def service(verb: str) -> None:
        done = subprocess.run(
            [sys.executable, "toy.py", verb],
            cwd=checkout.root,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr

    service("up")
    try:
        runner = begun(checkout)
        assert "RUNNING" in flow_states(checkout)
        process.kill_tree(runner.pid)
        runner.wait()
        until(lambda: "RUNNING" not in flow_states(checkout))
        assert "CRASHED" in flow_states(checkout)
        until(lambda: "RUNNING" not in statuses(checkout))
    finally:
        service("down")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    for name in ("IQAFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    made = Workspace(tmp_path / "checkout")
    store.ensure(made, Config())
    made.state.mkdir()
    yield made
    for left in reapers(made):
        left.kill()


OPEN = """
import sys, time
from pathlib import Path
from iqaflow.core.config import Config
from iqaflow.track import stage_run
from iqaflow.core.workspace import Workspace
with stage_run("train", Config(), Workspace(Path(sys.argv[1]))) as child:
    child.log({"loss": 1.0}, step=1)
    print("open", flush=True)
    time.sleep(600)
"""


def opened(workspace: Workspace) -> subprocess.Popen[str]:
    """A process that holds a run open."""
    started = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(workspace.root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert started.stdout is not None and started.stdout.readline() == "open\n"
    return started


def killed(workspace: Workspace) -> None:
    victim = opened(workspace)
    victim.kill()
    victim.wait()


def start(workspace: Workspace, *mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "iqaflow.orchestrate.services.reaper", str(workspace.root), *mode],
        env={**os.environ, "IQAFLOW_REAPER_SECONDS": "2"},
    )


def test_one_reaper_works_for_a_checkout(workspace: Workspace) -> None:
    victim = opened(workspace)
    for _ in range(3):
        assert start(workspace).wait(60) == 0  # it forked
    until(lambda: len(reapers(workspace)) == 1, 20)
    reaper.ensure(workspace)
    time.sleep(1)
    assert len(reapers(workspace)) == 1
    victim.kill()
    victim.wait()
    until(lambda: statuses(workspace) == ["KILLED"])
    until(lambda: not reapers(workspace), 20)
    assert not list((workspace.state / "open").iterdir())


@pytest.mark.slow
def test_a_locked_store_is_waited_for(workspace: Workspace) -> None:
    killed(workspace)
    with closing(sqlite3.connect(workspace.mlruns / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        start(workspace).wait(60)
        time.sleep(8)
        assert len(reapers(workspace)) >= 1 and statuses(workspace) == ["RUNNING"]
        other.execute("ROLLBACK")
    until(lambda: statuses(workspace) == ["KILLED"])


@pytest.mark.slow
def test_a_store_that_was_moved_away_is_not_made_anew(workspace: Workspace) -> None:
    killed(workspace)
    away = workspace.root / "away"
    workspace.mlruns.rename(away)
    start(workspace).wait(60)
    time.sleep(5)
    assert not workspace.mlruns.exists() and reapers(workspace)
    away.rename(workspace.mlruns)
    until(lambda: statuses(workspace) == ["KILLED"])


@pytest.mark.slow
def test_the_service_stays_and_ends_when_asked_or_when_the_checkout_goes(workspace: Workspace) -> None:
    service = start(workspace, "--stay")
    until(lambda: lock.held(workspace.state / "locks" / "reaper.lock"), 30)
    killed(workspace)
    until(lambda: statuses(workspace) == ["KILLED"])
    assert service.poll() is None
    service.terminate()
    assert service.wait(20) == 0 and not reapers(workspace)
    service = start(workspace, "--stay")
    until(lambda: lock.held(workspace.state / "locks" / "reaper.lock"), 30)
    workspace.state.rename(workspace.root / "gone")
    assert service.wait(20) == 0
    assert not workspace.state.exists()


@pytest.mark.slow
def test_what_a_verb_finds_undone_it_does_first(workspace: Workspace) -> None:
    """Without a reaper: a dead run, and the spool of a run during which the store was away."""
    killed(workspace)
    away = workspace.root / "away"
    workspace.mlruns.rename(away)
    workspace.mlruns.write_text("in the way")
    with stage_run("train", Config(), workspace) as child:
        child.log({"loss": 1.0}, step=1)
    workspace.mlruns.unlink()
    reaper.settle(workspace)  # the store is still away: nothing happens, and nothing is made
    assert not workspace.mlruns.exists() and open_runs.due(workspace)
    away.rename(workspace.mlruns)
    done = subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", "assess", "nothing.png"], cwd=workspace.root, capture_output=True, text=True
    )
    assert "There is no model iqaflow@champion" in done.stderr
    assert statuses(workspace) == ["KILLED", "FINISHED"] and not open_runs.due(workspace)
    assert not list(spool.folder(workspace).glob("*.jsonl"))


def test_runs_of_other_hosts_other_stores_and_living_processes_are_left_alone(workspace: Workspace) -> None:
    living = opened(workspace)
    file = next((workspace.state / "open").iterdir())
    entry = json.loads(file.read_text())
    assert not open_runs.due(workspace)
    for change in ({"host": "elsewhere", "process": "1:0"}, {"store": "another", "process": "1:0"}):
        (workspace.state / "open" / "other.json").write_text(json.dumps({**entry, **change}))
        assert not open_runs.due(workspace)
    reaper.settle(workspace)
    assert statuses(workspace) == ["RUNNING"]
    (workspace.state / "open" / "other.json").unlink()
    pid, _, begun_at = entry["process"].partition(":")
    assert entry["host"] == socket.gethostname() and int(pid) == living.pid
    file.write_text(json.dumps({**entry, "process": f"{pid}:{float(begun_at) - 500}"}))  # the number is another process's now
    assert open_runs.due(workspace)
    living.kill()
    living.wait()


def test_nothing_to_do_loads_nothing(workspace: Workspace) -> None:
    with stage_run("train", Config(), workspace):
        pass
    code = (
        "import sys; from pathlib import Path\n"
        "from iqaflow.orchestrate.services import reaper; from iqaflow.core.workspace import Workspace\n"
        "reaper.settle(Workspace(Path(sys.argv[1])))\n"
        "assert 'mlflow' not in sys.modules and 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(workspace.root)], check=True)

"""Tracking under fire: a fresh store opened by many, a store that is locked, away or gone, kills at any point."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.manifest import write_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.model import integrity
from iqaflow.registry import versions
from iqaflow.track import parent_run, records, spool, stage_run, store
from iqaflow.track.run import PARENT, reconcile
from tests.representatives import representatives

CONFIG = Config()
SOURCE = Path(__file__).parents[2] / "src"
HEADER = """
import os, sys, time
from pathlib import Path
from iqaflow.core.config import Config
from iqaflow.registry import versions
from iqaflow.track import parent_run, spool, stage_run, store
from iqaflow.core.workspace import Workspace
workspace, config = Workspace(Path(sys.argv[1])), Config()
"""


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in ("IQAFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI", PARENT):
        monkeypatch.delenv(name, raising=False)
    return Workspace(tmp_path / "checkout")


@pytest.fixture
def mlflow(workspace, empty_store):
    shutil.copytree(empty_store, workspace.mlruns)
    return store.client(store.ensure(workspace, CONFIG))


@pytest.fixture
def start(workspace):
    """Run a script in a process of its own, with `workspace` and `config` at hand."""
    started = []

    def run(script, **variables):
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
        process = subprocess.Popen(
            [sys.executable, "-c", HEADER + script, str(workspace.root)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def lines_until(process, text):
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"{text!r} never came; exit code {process.wait()}")


def steps(mlflow, run, name="loss"):
    return [each.step for each in mlflow.get_metric_history(run, name)]


@pytest.mark.slow
def test_three_processes_open_a_fresh_store_at_once_and_all_write(workspace, start):
    script = """
with stage_run("train", config, workspace) as child:
    for step in range(300):
        child.log({"loss": 1.0}, step=step)
assert not child.run_id.startswith("local-"), child.run_id
"""
    for process in [start(script) for _ in range(3)]:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    mlflow = store.client(store.ensure(workspace, CONFIG))
    found = mlflow.search_runs(["1"])
    assert [run.info.status for run in found] == ["FINISHED"] * 3
    assert all(steps(mlflow, run.info.run_id) == list(range(300)) for run in found)
    assert not list(workspace.mlruns.glob(".mlflow.db.new*"))


def test_a_half_made_store_is_made_again(workspace):
    workspace.mlruns.mkdir(parents=True)
    (workspace.mlruns / ".mlflow.db.new.123").write_bytes(b"killed in a migration")
    store.ensure(workspace, CONFIG)
    assert sorted(path.name for path in workspace.mlruns.iterdir()) == [".mlflow.lock", "artifacts", "mlflow.db"]


@pytest.fixture
def calls(monkeypatch):
    """`look` where a thread looks whether the store takes writes, `write` where it hands MLflow a record; with the thread."""
    found = []

    def counted(name, function):
        def call(*arguments):
            found.append((name, threading.current_thread()))
            return function(*arguments)

        return call

    monkeypatch.setattr(store, "unreachable", counted("look", store.unreachable))
    monkeypatch.setattr(records, "apply", counted("write", records.apply))
    return found


def test_a_locked_store_stops_nothing_and_loses_nothing(workspace, mlflow, calls):
    with stage_run("train", CONFIG, workspace) as child:
        child.log({"loss": 1.0}, step=0)
        child.flush()
        with closing(sqlite3.connect(workspace.mlruns / "mlflow.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            calls.clear()
            for step in range(1, 2000):
                child.log({"loss": 1.0 / step}, step=step)
            assert not [thread for _, thread in calls if thread is threading.current_thread()]  # saying something is an append
            child.text("kept", "note.txt")
            child.flush(last=True)
            assert {name for name, _ in calls} == {"look"}  # MLflow would wait twenty seconds with each of many records
            assert spool.path(workspace, child.run_id).exists()
            other.execute("ROLLBACK")
        child.log({"loss": 0.0}, step=2000)
    assert steps(mlflow, child.run_id) == list(range(2001))
    assert Path(mlflow.download_artifacts(child.run_id, "note.txt")).read_text() == "kept"
    assert not list(spool.folder(workspace).glob("*.jsonl")) and not list(spool.folder(workspace).glob("*.files"))
    assert mlflow.get_run(child.run_id).info.status == "FINISHED"


def test_a_retraining_during_which_the_store_is_away_is_told_afterwards_once(workspace, mlflow):
    away = workspace.root / "away"
    workspace.mlruns.rename(away)
    workspace.mlruns.write_text("a file where the folder should be")  # nothing can be made there
    with parent_run(CONFIG, workspace, "retraining") as parent:
        with stage_run("train", CONFIG, workspace) as child:
            for step in range(50):
                child.log({"loss": 1.0}, step=step)
            child.text("kept", "note.txt")
        with pytest.raises(ValueError, match="boom"), stage_run("calibrate", CONFIG, workspace):
            raise ValueError("boom")
    assert parent.startswith("local-") and child.run_id.startswith("local-")
    workspace.mlruns.unlink()
    away.rename(workspace.mlruns)
    waiting = {path: path.read_bytes() for path in spool.folder(workspace).glob("*.jsonl")}
    assert len(waiting) == 3 and spool.replay(workspace, CONFIG) == 3
    for path, data in waiting.items():
        path.write_bytes(data)  # as if the replay had been killed before it could tidy up
    assert spool.replay(workspace, CONFIG) == 3 and not (spool.folder(workspace) / "rejected.jsonl").exists()
    runs = {run.info.run_name: run for run in mlflow.search_runs(["1"])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "retraining": "FINISHED",
        "train": "FINISHED",
        "calibrate": "FAILED",
    }
    assert len(mlflow.search_runs(["1"])) == 3
    assert runs["train"].data.tags["mlflow.parentRunId"] == runs["retraining"].info.run_id
    assert runs["retraining"].data.params["train.lr"] == str(CONFIG.train.lr)
    assert steps(mlflow, runs["train"].info.run_id) == list(range(50))
    assert Path(mlflow.download_artifacts(runs["train"].info.run_id, "note.txt")).read_text() == "kept"


def test_a_store_that_goes_away_and_comes_back_while_a_stage_runs(workspace, mlflow, monkeypatch):
    monkeypatch.setattr(spool, "FLUSH_SECONDS", 0.1)
    monkeypatch.setattr(spool, "PATIENCE_SECONDS", (0.2, 0.5))
    away = workspace.mlruns / "away.db"
    with stage_run("train", CONFIG, workspace) as child:
        child.log({"loss": 1.0}, step=0)
        child.flush()
        (workspace.mlruns / "mlflow.db").rename(away)
        for step in range(1, 20):
            child.log({"loss": 1.0}, step=step)
            time.sleep(0.03)
        child.flush(last=True)
        assert spool.path(workspace, child.run_id).exists()
        assert not (workspace.mlruns / "mlflow.db").exists()  # no empty new store that would not know the run
        away.rename(workspace.mlruns / "mlflow.db")
        deadline = time.monotonic() + 20
        while spool.path(workspace, child.run_id).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert steps(mlflow, child.run_id) == list(range(20))  # sent while the stage goes on, without being asked


def test_a_server_that_is_down_costs_a_look(workspace, monkeypatch, calls):
    """Never one of MLflow's own requests, which try again for minutes."""
    monkeypatch.setenv("IQAFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with parent_run(CONFIG, workspace), stage_run("train", CONFIG, workspace) as child:
        child.log({"loss": 1.0}, step=1)
    assert {name for name, _ in calls} == {"look"}
    assert spool.path(workspace, child.run_id).exists()
    with pytest.raises(StageError, match="cannot be used"):
        versions.find(CONFIG, workspace, "champion")


def test_a_full_or_unwritable_spool_stops_nothing(workspace, mlflow, monkeypatch, capsys):
    monkeypatch.setenv("IQAFLOW_TRACKING_URI", "http://127.0.0.1:9")
    workspace.state.mkdir(parents=True)
    (workspace.state / "spool").write_text("in the way")
    with stage_run("train", CONFIG, workspace) as child:
        child.log({"loss": 1.0}, step=1)
        child.text("lost", "note.txt")
    assert "could not be kept" in capsys.readouterr().err
    (workspace.state / "spool").unlink()
    monkeypatch.setattr(spool, "LIMIT_BYTES", 100)
    with stage_run("train", CONFIG, workspace) as child:
        child.tags({"long": "x" * 1000})
        child.flush()
        child.log({"loss": 1.0}, step=1)
    assert "is full" in capsys.readouterr().err


def test_a_record_cut_short_and_one_that_mlflow_refuses_hold_up_nothing(workspace, mlflow):
    with stage_run("train", CONFIG, workspace) as child:
        pass
    spool.spool(workspace, [{"op": "params", "run": child.run_id, "values": {"a": "1"}}])
    with spool.path(workspace, child.run_id).open("a") as file:
        file.write('{"op": "metrics", "run')  # killed while writing
    spool.spool(
        workspace,
        [
            {"op": "params", "run": child.run_id, "values": {"a": "2"}},  # a parameter cannot change
            {"op": "tags", "run": child.run_id, "values": {"last": "yes"}},
        ],
    )
    assert spool.replay(workspace, CONFIG) == 1
    run = mlflow.get_run(child.run_id)
    assert run.data.params["a"] == "1" and run.data.tags["last"] == "yes"
    [refused] = [json.loads(line) for line in (spool.folder(workspace) / "rejected.jsonl").read_text().splitlines()]
    assert refused["values"] == {"a": "2"} and "a" in refused["reason"]


def test_kill_9_leaves_no_run_running_and_a_new_try_continues_it(workspace, mlflow, start):
    process = start("""
with parent_run(config, workspace, "retraining"):
    with stage_run("train", config, workspace) as child:
        for step in range(10):
            child.log({"loss": 1.0}, step=step)
        child.flush()
        print("open", flush=True)
        time.sleep(600)
""")
    lines_until(process, "open")
    assert reconcile(workspace, CONFIG) == []  # they live
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert {run.info.status for run in mlflow.search_runs(["1"])} == {"RUNNING"}
    assert len(reconcile(workspace, CONFIG)) == 2
    runs = {run.info.run_name: run for run in mlflow.search_runs(["1"])}
    assert {run.info.status for run in runs.values()} == {"KILLED"}
    assert "was gone" in runs["train"].data.tags["reconciled"]
    os.environ[PARENT] = runs["retraining"].info.run_id
    try:
        with parent_run(CONFIG, workspace), stage_run("train", CONFIG, workspace) as child:
            for step in range(5, 15):
                child.log({"loss": 1.0}, step=step)
    finally:
        del os.environ[PARENT]
    assert child.run_id == runs["train"].info.run_id and steps(mlflow, child.run_id) == list(range(15))
    assert {run.info.status for run in mlflow.search_runs(["1"])} == {"FINISHED"}


@pytest.mark.slow
def test_sigterm_to_a_retraining_is_kept_as_killed(workspace, mlflow, start):
    process = start("""
with parent_run(config, workspace), stage_run("train", config, workspace):
    print("open", flush=True)
    time.sleep(600)
""")
    lines_until(process, "open")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert {run.info.status for run in mlflow.search_runs(["1"])} == {"KILLED"}


@pytest.mark.parametrize("moves", representatives([1, 2]))
def test_a_kill_between_alias_moves_leaves_a_champion(workspace, mlflow, start, moves):
    """The process dies right after its first or second alias move of a promotion; a new try ends as if it had not."""
    mlflow.create_registered_model("iqaflow")
    source = workspace.mlruns / "artifacts" / "x" / "artifacts"
    models = source / "artifacts"
    (models / integrity.STAGE1).mkdir(parents=True)
    (models / integrity.CALIBRATION).write_text("{}")
    write_manifest(models / integrity.STAGE1, [])
    integrity.bind(models)
    for _ in range(3):
        mlflow.create_model_version("iqaflow", source.as_uri())
    versions.promote(CONFIG, workspace, 1, None)
    versions.promote(CONFIG, workspace, 2, 1)
    process = start(f"""
from mlflow import MlflowClient
move, moved = MlflowClient.set_registered_model_alias, []
def and_die(*arguments):
    move(*arguments)
    moved.append(arguments)
    if len(moved) == {moves}:
        os._exit(9)
MlflowClient.set_registered_model_alias = and_die
versions.promote(config, workspace, 3, 2)
""")
    assert process.wait(120) == 9
    champion = versions.champion_number(mlflow, "iqaflow")
    assert champion == (2 if moves == 1 else 3)
    versions.promote(CONFIG, workspace, 3, 2)
    assert versions.champion_number(mlflow, "iqaflow") == 3
    assert mlflow.get_model_version_by_alias("iqaflow", "rollback").version in (2, "2")
    with pytest.raises(StageError, match="changed from version 2 to 3"):
        versions.promote(CONFIG, workspace, 1, 2)  # compared with a champion that is none any more
    assert versions.rollback(CONFIG, workspace) == 2
    assert mlflow.get_model_version_by_alias("iqaflow", "rollback").version in (3, "3")

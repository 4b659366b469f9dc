"""The real flow on a toy checkout: a whole run, nothing to do, overrides, a gate that stops, a crash that is retried."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow.core.config import Config
from iqaflow.core.workspace import STAGES, Workspace
from tests import toy


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A toy checkout after its first complete run."""
    workspace = toy.make(tmp_path_factory.mktemp("toy"))
    done = run(workspace)
    assert done.returncode == 0, done.stderr
    return workspace


def run(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    (workspace.root / "toy.log").unlink(missing_ok=True)
    return subprocess.run(
        [sys.executable, "toy.py", "run", *arguments],
        cwd=workspace.root,
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=600,
    )


def clean_environment() -> dict[str, str]:
    """Without what another test, or the developer's shell, set for its own servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_TRACKING", "IQAFLOW_"))}


def test_first_run_did_everything_in_order(checkout: Workspace) -> None:
    assert (checkout.root / "dvc.lock").is_file()
    assert (checkout.state / "finished").is_file()
    kept = sorted(path.name.partition("-")[0] for path in (checkout.state / "results").iterdir())
    assert kept == sorted(STAGES)


def test_second_run_does_nothing_and_starts_no_prefect(checkout: Workspace) -> None:
    def kept() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (checkout.state / "prefect").rglob("*")}

    before = kept()
    done = run(checkout)
    assert done.returncode == 0
    assert "Everything is up to date" in done.stderr
    assert toy.log(checkout) == [] and kept() == before


def test_prefect_saw_the_nested_run_and_its_artifacts(checkout: Workspace) -> None:
    import sqlite3

    with sqlite3.connect(checkout.state / "prefect" / "prefect.db") as database:
        flows = dict(
            database.execute(
                "SELECT flow.name, flow_run.state_type FROM flow_run JOIN flow ON flow.id = flow_run.flow_id"
            ).fetchall()
        )
        nested = database.execute("SELECT count(*) FROM flow_run WHERE parent_task_run_id IS NOT NULL").fetchone()[0]
        artifacts = {key for (key,) in database.execute("SELECT key FROM artifact WHERE key IS NOT NULL")}
        logs = database.execute("SELECT count(*) FROM log").fetchone()[0]
    assert flows == dict.fromkeys(["retrain", *STAGES], "COMPLETED")
    assert nested == len(STAGES)
    assert artifacts >= {
        "mlflow-run",
        "gate-report",
        *(f"{stage}-report" for stage in STAGES),
        *(f"{stage}-metrics" for stage in STAGES),
    }
    assert logs > 10


@pytest.mark.slow
def test_a_failed_gate_stops_once_with_its_sentence_and_the_parameters_are_back(checkout: Workspace) -> None:
    before = checkout.params.read_bytes()
    (checkout.root / "toy.fail").write_text("train")
    done = run(checkout, "--set", "train.lr=0.005")
    (checkout.root / "toy.fail").unlink()
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "iqaflow: train: train stops on purpose, row 7"
    assert "Traceback" not in done.stderr
    assert toy.log(checkout) == ["start train"], "a gate is not tried again"
    assert checkout.params.read_bytes() == before


@pytest.mark.slow
def test_a_crash_is_tried_again_and_only_what_follows_runs(checkout: Workspace) -> None:
    (checkout.root / "toy.crash").write_text("train")
    done = run(checkout, "--set", "train.lr=0.006", "--set", "schedule.retry_seconds=1")
    assert done.returncode == 0, done.stderr
    assert toy.log(checkout) == [
        "start train",
        "start train",
        "end train",
        "start calibrate",
        "end calibrate",
        "start benchmark",
        "end benchmark",
        "start report",
        "end report",
        "start gate",
        "end gate",
    ]
    assert "lr 0.006" in (checkout.root / toy.OUTPUTS["train"]).read_text()


@pytest.mark.slow
def test_back_to_the_former_parameters_restores_from_the_cache(checkout: Workspace) -> None:
    done = run(checkout)
    assert done.returncode == 0, done.stderr
    assert toy.log(checkout) == ["start gate", "end gate"]
    assert f"lr {Config().train.lr}" in (checkout.root / toy.OUTPUTS["train"]).read_text()
    assert re.search(r"train\s+up to date", done.stdout)


def test_dvc_alone_agrees(checkout: Workspace) -> None:
    answer = toy.run(checkout.root, sys.executable, "-m", "dvc", "status", "--json")
    assert json.loads(answer) == {"sources": ["always changed"]}


@pytest.mark.slow
def test_mlflow_has_a_parent_with_a_child_per_stage(checkout: Workspace) -> None:
    import sqlite3

    with sqlite3.connect(checkout.mlruns / "mlflow.db") as database:
        parents = database.execute(
            "SELECT run_uuid FROM runs WHERE name LIKE 'retraining%' AND status = 'FINISHED' ORDER BY start_time"
        ).fetchall()
        children = database.execute(
            "SELECT runs.name, status.value FROM runs JOIN tags parent ON parent.run_uuid = runs.run_uuid "
            "JOIN tags status ON status.run_uuid = runs.run_uuid "
            "WHERE parent.key = 'mlflow.parentRunId' AND parent.value = ? AND status.key = 'status'",
            parents[-1],
        ).fetchall()
        running = database.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()[0]
    assert dict(children) == dict.fromkeys(STAGES, "cached")
    assert running == 0


def test_the_flow_files_hold_no_logic() -> None:
    """A flow file fits on one screen."""
    for path in (Path(toy.ROOT) / "flows").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 80, path

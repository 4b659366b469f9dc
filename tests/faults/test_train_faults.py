"""Killed, damaged and misled training: it continues to the same bytes, or says why not in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iqaflow.ops.errors import StageError
from iqaflow.ops.files import DamagedError, read_manifest
from iqaflow.train import checkpoint, stage
from iqaflow.workspace import Workspace


def digest(root: Path) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in read_manifest(root / "models" / "stage1", verify=True)["files"].items()}


def start(root: Path, config) -> subprocess.Popen:
    """The stage in a process of its own, as `iqaflow train` runs it."""
    code = ("import json, sys; from pathlib import Path; from iqaflow.config import Config; from iqaflow.train import stage;"
            "from iqaflow.workspace import Workspace;"
            "stage.run(Config.model_validate(json.load(open(sys.argv[1]))), Workspace(Path(sys.argv[2])))")
    job = root / "config.json"
    job.write_text(json.dumps(config.tree()))
    return subprocess.Popen([sys.executable, "-c", code, str(job), str(root)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.fixture
def work(annotated, tmp_path) -> Path:
    shutil.copytree(annotated, tmp_path / "work")
    return tmp_path / "work"


def test_two_ranks_killed_halfway_end_in_the_bytes_of_one_unbroken_rank(work, trained, small_config):
    shared = small_config.model_copy(update={"resources": small_config.resources.model_copy(update={"ranks": 2})})
    process = start(work, shared)
    scratch = work / ".iqaflow" / "scratch" / "train"
    deadline = time.monotonic() + 120
    while not list(scratch.glob("*/checkpoints/step-*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(scratch.glob("*/checkpoints/step-*"))
    assert not (work / "models" / "stage1").exists()
    stage.run(shared, Workspace(work))
    assert digest(work) == digest(trained)
    assert (work / "reports" / "train.csv").read_bytes() == (trained / "reports" / "train.csv").read_bytes()


def test_damaged_checkpoints_are_refused(tmp_path):
    from iqaflow.ops.files import commit_directory

    for step in (2, 4, 6):
        made = tmp_path / ".made"
        made.mkdir()
        (made / "weights").write_bytes(os.urandom(1000))
        (made / "more").write_bytes(b"more")
        commit_directory(made, tmp_path / f"step-{step:07d}", {"step": step})
    said: list[str] = []
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-0000006", 6)
    victim = tmp_path / "step-0000006" / "weights"
    data = bytearray(victim.read_bytes())
    data[500] ^= 1
    victim.write_bytes(data)
    assert checkpoint.newest(tmp_path, said.append) == (tmp_path / "step-0000004", 4)
    assert "does not match its manifest" in said[0]
    (tmp_path / "step-0000004" / "manifest.json").write_text("")
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-0000002", 2)
    (tmp_path / "step-0000002" / "more").unlink()
    assert checkpoint.newest(tmp_path) is None


def test_damaged_data_is_refused_before_training(work, small_config):
    part = next((work / "data" / "annotated" / "images").glob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(DamagedError, match="does not match its manifest"):
        stage.run(small_config, Workspace(work))


def test_absent_base_is_one_sentence(work, small_config):
    wrong = small_config.model_copy(update={"train": small_config.train.model_copy(update={"base": "models/nowhere"})})
    with pytest.raises(StageError, match="models/nowhere is not a local folder"):
        stage.run(wrong, Workspace(work))


def test_loss_that_is_not_finite_stops_after_three(work, small_config):
    wild = small_config.model_copy(update={"train": small_config.train.model_copy(
        update={"lr": 1e30, "clip": 1e30, "warmup": 0})})
    with pytest.raises(StageError, match="not finite 3 steps in a row"):
        stage.run(wild, Workspace(work))

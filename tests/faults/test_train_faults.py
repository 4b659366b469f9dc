"""Killed, damaged and misled training: it continues to the same bytes, or says why not in one sentence."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iqaflow.core.errors import DamagedError, NoSpaceError, StageError
from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.train import checkpoint, stage
from iqaflow.train.ranks import launch


def digest(root: Path) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in read_manifest(root / "models" / "stage1", verify=True)["files"].items()}


def start(root: Path, config) -> subprocess.Popen:
    """The stage in a process of its own, as `iqaflow train` runs it."""
    code = (
        "import json, sys; from pathlib import Path; from iqaflow.core.config import Config; from iqaflow.train import stage;"
        "from iqaflow.core.workspace import Workspace;"
        "stage.run(Config.model_validate(json.load(open(sys.argv[1]))), Workspace(Path(sys.argv[2])))"
    )
    job = root / "config.json"
    job.write_text(json.dumps(config.tree()))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(job), str(root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def killed(root: Path, config) -> None:
    """Training that was killed, with all its ranks, once a checkpoint was there."""
    process = start(root, config)
    scratch, deadline = root / ".iqaflow" / "scratch" / "train", time.monotonic() + 120
    while not list(scratch.glob("*/checkpoints/step-*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(scratch.glob("*/checkpoints/step-*"))
    assert not (root / "models" / "stage1").exists()


@pytest.fixture
def work(annotated, tmp_path) -> Path:
    shutil.copytree(annotated, tmp_path / "work")
    return tmp_path / "work"


def test_two_ranks_killed_halfway_end_in_the_bytes_of_one_unbroken_rank(work, trained, small_config):
    two = shared(small_config, 2)
    killed(work, two)
    stage.run(two, Workspace(work))
    assert digest(work) == digest(trained)
    assert (work / "reports" / "train.csv").read_bytes() == (trained / "reports" / "train.csv").read_bytes()


def test_damaged_checkpoints_are_refused(tmp_path):
    from iqaflow.core.manifest import commit_directory

    for step in (2, 4, 6):
        made = tmp_path / ".made"
        made.mkdir()
        (made / "weights").write_bytes(os.urandom(1000))
        (made / "more").write_bytes(b"more")
        commit_directory(made, tmp_path / f"step-{step:07d}", {"step": step})
    said: list[str] = []

    def found(say=None) -> Path:
        return checkpoint.newest(tmp_path, say)[0]

    assert found() == tmp_path / "step-0000006"
    victim = tmp_path / "step-0000006" / "weights"
    data = bytearray(victim.read_bytes())
    data[500] ^= 1
    victim.write_bytes(data)
    assert found(said.append) == tmp_path / "step-0000004"
    assert "does not match its manifest" in said[0]
    (tmp_path / "step-0000004" / "manifest.json").write_text("")
    assert found() == tmp_path / "step-0000002"
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


@pytest.mark.slow
def test_loss_that_is_not_finite_stops_after_three(work, small_config):
    wild = small_config.model_copy(
        update={"train": small_config.train.model_copy(update={"lr": 1e30, "clip": 1e30, "warmup": 0})}
    )
    with pytest.raises(StageError, match="not finite 3 steps in a row"):
        stage.run(wild, Workspace(work))


def altered(config, **train):
    return config.model_copy(update={"train": config.train.model_copy(update=train)})


def shared(config, ranks: int, **train):
    return altered(config.model_copy(update={"resources": config.resources.model_copy(update={"ranks": ranks})}), **train)


@pytest.mark.slow
def test_killed_at_random_instants_every_run_ends_in_the_same_bytes(annotated, tmp_path, small_config, request):
    """Ten kills, or as many as `--kills` says (`make test-all`: fifty)."""
    count = request.config.getoption("--kills")
    job = tmp_path / "config.json"
    job.write_text(json.dumps(altered(small_config, checkpoint_steps=1, max_steps=10).tree()))
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kills.py")), str(job), str(annotated), str(count), "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] >= count and len(told["runs"]) >= 2
    for run in told["runs"]:
        assert [step for step, _ in run["losses"]] == list(range(1, 11))
        assert run == told["runs"][0]  # the first one was not killed


@pytest.mark.slow
def test_interrupted_training_commits_where_it_stands(work, trained, small_config):
    rare = altered(small_config, checkpoint_steps=1000)
    process = start(work, rare)
    scratch = work / ".iqaflow" / "scratch" / "train"
    deadline = time.monotonic() + 120
    while not list(scratch.glob("*/steps.jsonl")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)  # Ctrl-C reaches the stage, which asks its ranks to stop
    process.wait(60)
    kept = list(scratch.glob("*/checkpoints/step-*"))
    assert len(kept) == 1 and 1 <= int(kept[0].name[5:]) < 8
    stage.run(rare, Workspace(work))
    assert digest(work) == digest(trained)


@pytest.mark.slow
def test_a_bad_batch_is_left_out_and_nothing_else(work, small_config, monkeypatch, capfd):
    monkeypatch.setattr(launch, "WORKER", (str(Path(__file__).with_name("spoilt.py")), "nan-2"))
    stage.run(small_config, Workspace(work))
    said = capfd.readouterr().err
    assert "the loss or gradient of step 3 is not finite: its batch is left out" in said
    steps = [line.split(",")[0] for line in (work / "reports" / "train.csv").read_text().splitlines()[1:]]
    assert steps == ["1", "2", "4", "5", "6", "7", "8"]
    from safetensors.torch import load_file

    weights = load_file(work / "models" / "stage1" / "model.safetensors")
    assert all(bool(value.isfinite().all()) for value in weights.values())


@pytest.mark.slow
def test_out_of_memory_goes_on_in_smaller_micro_batches(work, small_config, monkeypatch, capfd):
    monkeypatch.setattr(launch, "WORKER", (str(Path(__file__).with_name("spoilt.py")), "memory"))
    large = altered(small_config, micro_batch=4, micro_batches=1)
    stage.run(large, Workspace(work))
    said = capfd.readouterr().err
    assert "out of memory; going on with micro-batches of 2" in said and "micro-batches of 1" in said
    rows = (work / "reports" / "train.csv").read_text().splitlines()[1:]
    assert len(rows) == 8  # as many steps of four packs as asked for
    whole = altered(small_config, micro_batch=1, micro_batches=4)
    first = float(rows[0].split(",")[1])
    monkeypatch.undo()
    shutil.rmtree(work / "models")
    stage.run(whole, Workspace(work))
    assert first == float((work / "reports" / "train.csv").read_text().splitlines()[1].split(",")[1])


def test_memory_that_one_pack_does_not_fit_into_is_one_sentence(work, small_config):
    with pytest.raises(StageError, match="does not fit into memory"):
        launch.halved(altered(small_config, micro_batch=1), "no memory")


@pytest.mark.slow
def test_a_divided_state_is_not_continued_by_other_ranks(work, small_config):
    killed(work, shared(small_config, 2, zero_stage=2, max_steps=400, checkpoint_steps=1))
    with pytest.raises(StageError, match=r"written by 2 rank\(s\) under ZeRO-2 and cannot be continued by 1 under ZeRO-0"):
        stage.run(shared(small_config, 1, max_steps=400, checkpoint_steps=1), Workspace(work))


def checkpoints(work: Path) -> list[Path]:
    found = next((work / ".iqaflow" / "scratch" / "train").iterdir()) / "checkpoints"
    assert not list(found.glob(".step-*"))
    return sorted(found.glob("step-*"))


@pytest.mark.slow
def test_a_disk_that_fills_up_loses_nothing(work, trained, small_config):
    """On a real file system with room for two checkpoints, not for three."""
    disk = work / ".iqaflow"
    disk.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        with pytest.raises(StageError, match=r"No space left while writing .*step-0000006: free some disk space and run"):
            stage.run(small_config, Workspace(work))
        assert [path.name for path in checkpoints(work)] == ["step-0000002", "step-0000004"]
        for path in checkpoints(work):
            read_manifest(path, verify=True)
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        stage.run(small_config, Workspace(work))  # the model moves to another file system
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert digest(work) == digest(trained)


@pytest.mark.slow
def test_a_disk_without_any_room_is_told_by_the_exit_code(work, small_config):
    disk = work / ".iqaflow"
    disk.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        with pytest.raises((NoSpaceError, StageError), match=r"No space left .*: free some disk space and run"):
            stage.run(small_config, Workspace(work))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert not (work / "models").exists()


@pytest.mark.slow
def test_a_limit_on_file_size_keeps_the_older_checkpoint(work, trained, small_config):
    killed(work, small_config)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, hard))
    try:
        with pytest.raises(StageError, match="No space left while writing"):
            stage.run(small_config, Workspace(work))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints(work)
    for path in checkpoints(work):
        read_manifest(path, verify=True)
    stage.run(small_config, Workspace(work))
    assert digest(work) == digest(trained)

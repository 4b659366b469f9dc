"""A rank that hangs is named, all start anew from the checkpoint, and the result has the bytes of an unbroken run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from iqaflow.core.errors import PipelineError
from iqaflow.core.workspace import Workspace
from iqaflow.train import stage
from iqaflow.train.ranks import heartbeat, launch
from iqaflow.train.ranks.heartbeat import Watch
from tests.faults.test_train_faults import altered, digest, work  # noqa: F401 (a fixture)

LIMIT_SECONDS = 8


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(heartbeat, "GRACE_SECONDS", 0.0)


class Clock:
    """The module `time` of the watch, with a clock that a test may put forward."""

    time = staticmethod(time.time)

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    monkeypatch.setattr(heartbeat, "time", made := Clock())
    return made


def two_ranks(config, seconds=LIMIT_SECONDS, launcher="local", **train):
    resources = config.resources.model_copy(update={"ranks": 2, "hang_seconds": seconds, "launcher": launcher})
    return altered(config.model_copy(update={"resources": resources}), **train)


def hanging(monkeypatch, kind: str) -> None:
    monkeypatch.setattr(launch, "WORKER", (str(Path(__file__).with_name("hung.py")), kind))


class Stopper(threading.Thread):
    """Sends SIGSTOP to rank 1, once, when it is in its fourth step or beyond."""

    def __init__(self, root: Path) -> None:
        super().__init__(daemon=True)
        self.root, self.stopped, self.ranks = root, None, []

    def run(self) -> None:
        while self.stopped is None:
            time.sleep(0.02)
            beats = [beat for file in self.root.glob(".iqaflow/scratch/train/*/beats/rank-*.json") if (beat := read(file))]
            if any(beat["rank"] == 1 and beat["phase"] == "step" and beat["step"] >= 3 for beat in beats):
                self.stopped = next(beat["pid"] for beat in beats if beat["rank"] == 1)
                self.ranks = [beat["pid"] for beat in beats]
                os.kill(self.stopped, signal.SIGSTOP)


def read(file: Path) -> dict | None:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "torchrun", "deepspeed"])
def test_a_stopped_rank_is_named_and_the_result_is_that_of_an_unbroken_run(work, trained, small_config, capfd, launcher):  # noqa: F811
    stopper = Stopper(work)
    stopper.start()
    seconds = 30 if launcher == "deepspeed" else LIMIT_SECONDS  # it takes its time before it starts them
    stage.run(two_ranks(small_config, seconds, launcher), Workspace(work))
    said = capfd.readouterr().err
    assert re.search(
        rf"training rank 1 \(process {stopper.stopped} on \S+\) has been silent for \d+ s in step \d, "
        "micro-batch 2: all ranks start anew from the last checkpoint",
        said,
    )
    assert said.count("anew") == 1
    assert not any(psutil.pid_exists(pid) for pid in stopper.ranks)
    assert digest(work) == digest(trained)
    assert (work / "reports" / "train.csv").read_bytes() == (trained / "reports" / "train.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("stuck", r"made no progress for \d+ s in step 3, micro-batch 2"),
        ("import", r"been silent for \d+ s before its first sign of life"),
    ],
)
def test_a_rank_that_hangs_in_another_way_is_named(work, trained, small_config, monkeypatch, capfd, kind, words):  # noqa: F811
    hanging(monkeypatch, kind)
    stage.run(two_ranks(small_config), Workspace(work))
    assert re.search(rf"training rank 1 \(process \d+ on \S+\) has {words}: all", capfd.readouterr().err)
    assert digest(work) == digest(trained)


def test_a_rank_that_hangs_when_all_is_done_costs_nothing(work, trained, small_config, monkeypatch, capfd):  # noqa: F811
    hanging(monkeypatch, "end")
    stage.run(two_ranks(small_config), Workspace(work))
    said = capfd.readouterr().err
    assert re.search(r"training rank 1 .* has been silent for \d+ s at the end; the model is there, so it is done", said)
    assert digest(work) == digest(trained)


@pytest.mark.slow
def test_a_rank_that_always_hangs_at_the_same_place_ends_in_one_sentence(work, small_config, monkeypatch):  # noqa: F811
    hanging(monkeypatch, "always")
    monkeypatch.setattr(launch, "RESTARTS", 1)
    with pytest.raises(
        PipelineError,
        match=r"hung 2 times after step 2 \(at last, training rank 1 .* no progress .*"
        r"set resources\.hang_seconds higher",
    ):
        stage.run(two_ranks(small_config), Workspace(work))


@pytest.mark.slow
def test_a_slow_rank_is_left_alone(work, small_config, monkeypatch, capfd):  # noqa: F811
    """A step takes half as long again as the limit; the marks of its micro-batches show that it gets on."""
    hanging(monkeypatch, f"slow:{1.5 * LIMIT_SECONDS / 8}")
    stage.run(two_ranks(small_config, micro_batches=16, max_steps=1), Workspace(work))  # eight for each rank
    assert "anew" not in capfd.readouterr().err


BEATING = """
import sys, time
from pathlib import Path
from iqaflow.train.ranks import heartbeat
heartbeat.BEAT_SECONDS = 0.1
heartbeat.start(Path(sys.argv[1]), 0, 1)
time.sleep(60)
"""


@pytest.fixture
def beating(tmp_path):
    """Starts a process that does nothing but beat."""
    started = []

    def begin(folder: Path) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", BEATING, str(folder)]))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()


def first_beat(watch: Watch) -> None:
    deadline = time.monotonic() + 60
    while watch.ranks[0].beat is None:
        assert time.monotonic() < deadline
        watch.look([])
        time.sleep(0.05)


def test_a_full_disk_silences_nobody(tmp_path, beating):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    process = None
    try:
        watch = Watch(tmp_path, 1, 60)
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "rest").write_bytes(b"x" * 100_000)
        process = beating(tmp_path)
        first_beat(watch)
        before = watch.ranks[0].beat["beat"]
        time.sleep(1)
        watch.look([])
        assert watch.ranks[0].beat["beat"] > before + 2
    finally:
        if process is not None:
            process.kill()
            process.wait()
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_rank_of_an_older_attempt_leaves(tmp_path, beating):
    watch = Watch(tmp_path, 1, 60)
    process = beating(tmp_path)
    first_beat(watch)
    Watch(tmp_path, 1, 60)
    assert process.wait(10) == heartbeat.GONE


def test_what_the_launcher_slept_itself_is_nobodys_silence(tmp_path, beating, clock):
    watch = Watch(tmp_path, 1, 20)
    process = beating(tmp_path)
    first_beat(watch)
    process.kill()
    process.wait()
    clock.ahead_seconds += 1000  # as if the launcher had been stopped, or the machine asleep
    assert watch.look([]) is None
    for _ in range(4):
        clock.ahead_seconds += heartbeat.NAP_SECONDS
        hang = watch.look([])
    assert hang is not None and hang.rank == 0


def test_the_limit_follows_the_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "GRACE_SECONDS", 60.0)
    watch = Watch(tmp_path, 1, 300)
    assert watch.limit([]) == 300
    assert watch.limit([1.0] * 99 + [500.0]) == 300  # a single slow step is no measure
    assert watch.limit([200.0] * 100) == 460


def test_ranks_of_hosts_that_nobody_has_started_yet_are_not_late(tmp_path, clock):
    watch = Watch(tmp_path, 2, 20, together=False)
    for _ in range(10):
        clock.ahead_seconds += heartbeat.NAP_SECONDS
        assert watch.look([]) is None
    heartbeat.path(tmp_path, 0).write_bytes(
        json.dumps(
            {
                "rank": 0,
                "world": 2,
                "pid": 1,
                "host": "a",
                "phase": "loading",
                "step": 0,
                "micro": 0,
                "part": 0,
                "progress": 0,
                "waiting": True,
            }
        ).encode()
    )
    watch.look([])
    for number in range(10):  # rank 0 beats on, rank 1 never comes
        heartbeat.path(tmp_path, 0).touch()
        os.utime(heartbeat.path(tmp_path, 0), (number, number))
        clock.ahead_seconds += heartbeat.NAP_SECONDS
        hang = watch.look([])
        if hang:
            break
    assert hang is not None and hang.words.startswith("training rank 1 has been silent for 2")

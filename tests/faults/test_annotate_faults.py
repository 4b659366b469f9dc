"""Annotation survives what happens to it: killed workers, killed runs, a full disk, an engine that is not there."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from iqaflow.annotate import shards, stage
from iqaflow.core.config.schema import Splits
from iqaflow.core.errors import InputError, NoSpaceError, StageError
from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import Workspace
from tests.representatives import representatives


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "data").rglob("*"))
        if path.is_file()
    }


def using(config, **resources):
    return config.model_copy(update={"resources": config.resources.model_copy(update=resources)})


RUN = (
    "import json, signal, sys\n"
    "from pathlib import Path\n"
    "from iqaflow.annotate import stage\n"
    "from iqaflow.core.config import Config\n"
    "from iqaflow.core.workspace import Workspace\n"
    "if __name__ == '__main__':\n"
    "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "    stage.run(Config.model_validate(json.loads(sys.argv[1])), Workspace(Path(sys.argv[2])))\n"
)


def command(config, root: Path, code: str = RUN) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a process of its own that annotates."""
    return (
        [sys.executable, "-c", code, json.dumps(config.tree()), str(root)],
        {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def alive(processes: list[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """Which of these still live after `seconds`."""
    deadline = time.monotonic() + seconds
    while left := [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


@pytest.fixture(scope="module")
def many(small_config):
    """A run of 28 shards, long enough to be interrupted."""
    return small_config.model_copy(
        update={
            "annotate": small_config.annotate.model_copy(
                update={"shard_images": 4, "sizes_px": ((160, 160),), "images": Splits(train=64, calibration=24, test=24)}
            )
        }
    )


@pytest.fixture(scope="module")
def unbroken(many, tmp_path_factory) -> dict[str, str]:
    """What `many` gives when nothing happens."""
    root = tmp_path_factory.mktemp("unbroken")
    stage.run(many, Workspace(root))
    return digests(root)


@pytest.mark.slow
def test_dask_gives_the_same_bytes_though_a_worker_is_killed(many, unbroken, tmp_path, monkeypatch) -> None:
    """A local cluster of two processes; one is killed as soon as the first shard is there."""
    from distributed import Client

    from iqaflow.core import progress

    killed: list[int] = []
    counted = progress.progress

    def killing(items, total, label):
        for item in counted(items, total, label):
            if not killed:
                workers = Client.current().run(os.getpid)
                assert len(set(workers.values())) == 2
                killed.append(next(iter(workers.values())))
                os.kill(killed[0], signal.SIGKILL)
            yield item

    before = set(psutil.Process().children(recursive=True))
    monkeypatch.setattr(progress, "progress", killing)
    stage.run(using(many, engine="dask", workers=2), Workspace(tmp_path))
    assert killed and digests(tmp_path) == unbroken
    left = alive([child for child in psutil.Process().children(recursive=True) if child not in before])
    assert not [one for one in left if "resource_tracker" not in " ".join(one.cmdline())], "the cluster ends with the stage"


def test_a_neighbour_cannot_speak_to_dask(small_config, monkeypatch) -> None:
    """Whoever could would run code as us: the scheduler and the workers want a key that this cluster alone has."""
    from distributed import Client, get_client

    monkeypatch.delenv(shards.DASK_ADDRESS, raising=False)
    with shards.engine(using(small_config, engine="dask"), 1):
        mine = get_client()
        assert mine.submit(sum, (1, 2)).result(timeout=60) == 3
        addresses = [mine.scheduler.address, *mine.scheduler_info()["workers"]]
        assert len(addresses) == 2 and all(address.startswith("tls://127.0.0.1:") for address in addresses)
        for scheme in ("tcp", "tls"):
            with pytest.raises((OSError, TimeoutError, TypeError, RuntimeError, ValueError)):
                Client(f"{scheme}{addresses[0].removeprefix('tls')}", timeout=3, set_as_default=False)


@pytest.mark.parametrize("engine", representatives(["loky", "dask"]))
def test_kill_the_run_and_start_it_again(many, unbroken, tmp_path, monkeypatch, engine) -> None:
    """No worker outlives the run, and the next one makes only what is missing; what the dead were writing is not in it."""
    arguments, environment = command(using(many, engine=engine, workers=2), tmp_path)
    run = subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.rglob("shard-*.json"))) < 3:
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(run.pid).children(recursive=True)
    run.kill()
    run.wait()
    assert len(workers) >= 2 and not alive(workers)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("shard-*.json")}
    assert not (tmp_path / "data" / "annotated").exists()
    for path in list(tmp_path.rglob("images/part-00001.parquet")):
        (path.parents[1] / shards.UNFINISHED).mkdir(exist_ok=True)
        (path.parents[1] / shards.UNFINISHED / "images-00009-beef").write_bytes(path.read_bytes()[:1000])
        for name in (".shard-00002.json.9hsm19eb", ".manifest.json.k2_beef0"):
            (path.parents[1] / name).write_text('{"half":')
    stamps: dict[Path, int] = {}
    read = shards.read_marker

    def stamped(work, name):
        found = read(work, name)
        stamps[work / f"shard-{name}.json"] = (work / f"shard-{name}.json").stat().st_mtime_ns
        return found

    monkeypatch.setattr(shards, "read_marker", stamped)  # the last time, all are read to be counted
    stage.run(many, Workspace(tmp_path))
    assert digests(tmp_path) == unbroken
    assert len(stamps) == 28 and made.items() <= stamps.items(), "finished shards are not made again"


@pytest.mark.slow
def test_loky_leaves_no_process_behind(many, unbroken, tmp_path) -> None:
    before = set(psutil.Process().children(recursive=True))
    stage.run(using(many, engine="loky", workers=2), Workspace(tmp_path))
    assert digests(tmp_path) == unbroken
    left = alive([child for child in psutil.Process().children(recursive=True) if child not in before])
    assert not [one for one in left if "resource_tracker" not in " ".join(one.cmdline())]


@pytest.mark.slow
def test_two_runs_at_once_do_not_mix(many, unbroken, tmp_path) -> None:
    """The second says who is at work; it does not touch the shards of the first, though its parameters differ."""
    arguments, environment = command(many, tmp_path)
    run = subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("shard-*.json")):
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(StageError, match=rf"Another annotation is at work .*process {run.pid} on "):
        stage.run(many.model_copy(update={"seed": 9}), Workspace(tmp_path))
    assert run.wait(120) == 0 and digests(tmp_path) == unbroken


@pytest.mark.slow
def test_a_running_cluster_is_used_and_left_alone(small_config, annotated, tmp_path, monkeypatch) -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs="ERROR"
    ) as cluster:
        monkeypatch.setenv(shards.DASK_ADDRESS, cluster.scheduler_address)
        stage.run(using(small_config, engine="dask"), Workspace(tmp_path))
        with Client(cluster) as client:
            assert client.submit(int, "7").result(20) == 7
    assert digests(tmp_path) == digests(annotated)


def test_a_cluster_that_does_not_answer_is_one_sentence(small_config, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(shards.DASK_ADDRESS, "tcp://127.0.0.1:9")
    monkeypatch.setattr(shards, "DASK_SECONDS", 1)
    with pytest.raises(InputError, match=r"tcp://127.0.0.1:9 does not answer .*: start the scheduler, or unset it"):
        stage.run(using(small_config, engine="dask"), Workspace(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed; it is not in the lock file")
def test_ray_gives_the_same_bytes(many, unbroken, tmp_path) -> None:
    stage.run(using(many, engine="ray", workers=2), Workspace(tmp_path))
    assert digests(tmp_path) == unbroken


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_ray_that_is_not_installed_is_one_sentence(small_config, tmp_path) -> None:
    with pytest.raises(InputError, match=r"resources\.engine=ray needs the package ray"):
        stage.run(using(small_config, engine="ray"), Workspace(tmp_path))


def test_a_full_disk_leaves_no_data_set(many, tmp_path) -> None:
    """Files may grow to 200 kB: the first shard does not fit. With room again, nothing half-written is in the data set."""
    big = many.model_copy(update={"annotate": many.annotate.model_copy(update={"shard_images": 100, "sizes_px": ((192, 192),)})})
    full = RUN.replace(
        "    stage.run(",
        "    from iqaflow import sources\n"
        "    import resource\n"
        "    sources.index(Config.model_validate(json.loads(sys.argv[1])), Workspace(Path(sys.argv[2])))\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "    stage.run(",
    )
    arguments, environment = command(big, tmp_path, full)
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode and NoSpaceError.__name__ in done.stderr.splitlines()[-1]
    assert "free some disk space and run the same command again" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "data" / "annotated").exists() and not list(tmp_path.rglob("shard-*.json"))
    stage.run(big, Workspace(tmp_path))
    folder = tmp_path / "data" / "annotated"
    assert set(read_manifest(folder, verify=True)["files"]) == {
        f"{table}/part-0000{number}.parquet" for table in ("images", "conversations") for number in range(3)
    }
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 7


def test_a_damaged_shard_is_made_again(annotated, small_config, tmp_path) -> None:
    """A run stopped before the end; then a byte of one finished shard flips."""
    workspace = Workspace(tmp_path)
    made = shards.make
    calls: list[str] = []

    def stops(work, shard, *rest):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(shard.name)
        return made(work, shard, *rest)

    shards.make = stops
    try:
        with pytest.raises(KeyboardInterrupt):
            stage.run(small_config, workspace)
    finally:
        shards.make = made
    part = next(tmp_path.rglob("images/part-00001.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    stage.run(small_config, workspace)
    assert digests(tmp_path) == digests(annotated)


@pytest.mark.slow
def test_memory_stays_small_with_large_photographs(small_config, tmp_path) -> None:
    """Two hundred views of 12-megapixel photographs; the process may not grow beyond 1.5 GiB."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        small = rng.integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
    config = small_config.model_copy(
        update={"source": small_config.source.model_copy(update={"kind": "folder", "path": str(folder)})}
    )
    arguments, environment = command(
        config,
        tmp_path,
        RUN + "    peak = [line.split()[1] for line in open('/proc/self/status')"
        " if line.startswith('VmHWM')]\n    print(peak[0])  # ru_maxrss starts at the parent's\n",
    )
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout.split()[-1]) < 1.5 * 2**20, f"{done.stdout} KiB"

"""Annotation survives what happens to it: killed workers, killed runs, a full disk, an engine that is not there."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from iqaflow.annotate import shards, stage
from iqaflow.ops.errors import InputError
from iqaflow.ops.files import NoSpaceError, read_manifest
from iqaflow.workspace import Workspace


def digests(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((root / "data").rglob("*")) if path.is_file()}


def using(config, **resources):
    return config.model_copy(update={"resources": config.resources.model_copy(update=resources)})


def test_dask_gives_the_same_bytes_though_a_worker_is_killed(annotated, small_config, tmp_path) -> None:
    """A local cluster of two processes; one is killed as soon as the first shard is there."""
    killed: list[int] = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not killed:
            if list(tmp_path.rglob("shard-*.json")):
                workers = [child for child in psutil.Process().children(recursive=True)
                           if "spawn_main" in " ".join(child.cmdline()) and child.num_threads() > 2]
                if workers:
                    workers[-1].send_signal(signal.SIGKILL)
                    killed.append(workers[-1].pid)
            time.sleep(0.02)

    killer = threading.Thread(target=kill_one)
    killer.start()
    config = using(small_config, engine="dask", workers=2)
    config = config.model_copy(update={"annotate": config.annotate.model_copy(update={"shard_images": 12})})
    stage.run(config, Workspace(tmp_path))
    killer.join()
    assert killed and digests(tmp_path) == digests(annotated)
    left = [child for child in psutil.Process().children(recursive=True) if "distributed" in " ".join(child.cmdline())]
    assert not left, "the cluster ends with the stage"


def test_a_cluster_that_does_not_answer_is_one_sentence(small_config, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(shards.DASK_ADDRESS, "tcp://127.0.0.1:9")
    monkeypatch.setattr(shards, "DASK_SECONDS", 1)
    with pytest.raises(InputError, match=r"tcp://127.0.0.1:9 does not answer .*: start the scheduler, or unset it"):
        stage.run(using(small_config, engine="dask"), Workspace(tmp_path))


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_ray_that_is_not_installed_is_one_sentence(small_config, tmp_path) -> None:
    with pytest.raises(InputError, match=r"resources\.engine=ray needs the package ray"):
        stage.run(using(small_config, engine="ray"), Workspace(tmp_path))


def test_a_full_disk_leaves_no_data_set(small_config, tmp_path) -> None:
    """Files may grow to 200 kB: the first shard does not fit."""
    code = (
        "import json, resource, sys\n"
        "from pathlib import Path\n"
        "from iqaflow.annotate import stage\n"
        "from iqaflow.config import Config\n"
        "from iqaflow.workspace import Workspace\n"
        "from iqaflow.data import sources\n"
        "config, workspace = Config.model_validate(json.loads(sys.argv[1])), Workspace(Path(sys.argv[2]))\n"
        "sources.index(config, workspace)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "stage.run(config, workspace)\n"
    )
    big = small_config.model_copy(update={"annotate": small_config.annotate.model_copy(update={
        "shard_images": 100, "sizes_px": ((192, 192),)})})
    done = subprocess.run([sys.executable, "-c", "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + code,
                           json.dumps(big.tree()), str(tmp_path)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode and NoSpaceError.__name__ in done.stderr.splitlines()[-1]
    assert not (tmp_path / "data" / "annotated").exists() and not list(tmp_path.rglob("shard-*.json"))
    stage.run(big, Workspace(tmp_path))  # with room again it is made
    assert read_manifest(tmp_path / "data" / "annotated", verify=True)


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
    code = (
        "import json, resource, sys\n"
        "from pathlib import Path\n"
        "from iqaflow.annotate import stage\n"
        "from iqaflow.config import Config\n"
        "from iqaflow.workspace import Workspace\n"
        "stage.run(Config.model_validate(json.loads(sys.argv[1])), Workspace(Path(sys.argv[2])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    config = small_config.model_copy(update={"source": small_config.source.model_copy(update={
        "kind": "folder", "path": str(folder)})})
    done = subprocess.run([sys.executable, "-c", code, json.dumps(config.tree()), str(tmp_path)], capture_output=True,
                          text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert int(done.stdout.split()[-1]) < 1.5 * 2**20, f"{done.stdout} KiB"

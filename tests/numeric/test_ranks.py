"""The same losses whoever shares the work: ranks, ZeRO stages, offload, launchers, hosts. On gloo, fp32."""

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

from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.train import stage
from iqaflow.train.ranks import launch
from tests.representatives import representatives

BASE = Path(__file__).parents[2] / "models" / "base-tiny"
TOLERANCE = 2e-6  # relative; a sum in another order costs the last bit or two of a loss
NETWORK = "10.213.77"


def configured(config, resources: dict, **train):
    return config.model_copy(
        update={
            "train": config.train.model_copy(update={"base": str(BASE), "lr": 1e-4, "max_steps": 4, **train}),
            "resources": config.resources.model_copy(update=resources),
        }
    )


def losses(root: Path) -> list[float]:
    return [float(line.split(",")[1]) for line in (root / "reports" / "train.csv").read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def alone(annotated, tmp_path_factory, small_config) -> list[float]:
    """One rank without ZeRO."""
    root = tmp_path_factory.mktemp("alone") / "work"
    shutil.copytree(annotated, root)
    stage.run(configured(small_config, {"ranks": 1}), Workspace(root))
    return losses(root)


@pytest.mark.parametrize(
    ("resources", "train"),
    representatives(
        [
            ({"ranks": 2}, {"zero_stage": 2}),
            ({"ranks": 2}, {"zero_stage": 1}),
            ({"ranks": 2}, {"zero_stage": 3}),
            ({"ranks": 1}, {"zero_stage": 3, "offload": True}),
            ({"ranks": 2, "launcher": "torchrun"}, {}),
            ({"ranks": 2, "launcher": "deepspeed"}, {}),
        ]
    ),
    ids=["zero2", "zero1", "zero3", "zero3-offload", "torchrun", "deepspeed"],
)
def test_losses_do_not_depend_on_who_shares_the_work(annotated, tmp_path, small_config, alone, resources, train):
    shutil.copytree(annotated, tmp_path / "work")
    stage.run(configured(small_config, resources, **train), Workspace(tmp_path / "work"))
    assert losses(tmp_path / "work") == pytest.approx(alone, rel=TOLERANCE)


@pytest.mark.slow
def test_ranks_of_one_host_listen_to_nobody_else(annotated, tmp_path, small_config):
    """Torch's own meeting place would listen on every network of the machine, without a password."""
    import threading

    import psutil

    places, done = set(), threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for process in psutil.Process().children(recursive=True):
                try:
                    if any("iqaflow.train.ranks.worker" in word for word in process.cmdline()):
                        places.update(each.laddr.ip for each in process.net_connections("tcp") if each.status == "LISTEN")
                except psutil.Error:
                    continue

    shutil.copytree(annotated, tmp_path / "work")
    looking = threading.Thread(target=look)
    looking.start()
    try:
        stage.run(configured(small_config, {"ranks": 2}), Workspace(tmp_path / "work"))
    finally:
        done.set()
        looking.join()
    assert places == {"127.0.0.1"}  # gloo's


def test_micro_batches_that_nodes_cannot_share_are_refused(small_config):
    with pytest.raises(StageError, match=r"cannot be shared by resources\.nodes=3"):
        launch.ranks(configured(small_config, {"nodes": 3}))


def test_slurm_outside_an_allocation_is_one_sentence(small_config, tmp_path):
    with pytest.raises(StageError, match="works inside an allocation"):
        launch.commands(configured(small_config, {"launcher": "slurm"}), tmp_path / "job.json", 1, 29500)


@pytest.mark.slow
def test_slurm_ends_in_the_same_losses(annotated, tmp_path, small_config, alone):
    """Two ranks in an allocation of a real SLURM, where one answers; a node with two free processors is enough."""
    if shutil.which("scontrol") is None or subprocess.run(["timeout", "10", "scontrol", "ping"], capture_output=True).returncode:
        pytest.skip("needs a SLURM that answers")
    shutil.copytree(annotated, tmp_path / "work")
    code = (
        "import json, sys; from pathlib import Path; from iqaflow.core.config import Config; from iqaflow.train import stage;"
        "from iqaflow.core.workspace import Workspace;"
        "stage.run(Config.model_validate(json.load(open(sys.argv[1]))), Workspace(Path(sys.argv[2])))"
    )
    job = tmp_path / "config.json"
    job.write_text(json.dumps(configured(small_config, {"ranks": 2, "launcher": "slurm"}).tree()))
    done = subprocess.run(
        ["salloc", "--ntasks", "2", sys.executable, "-c", code, str(job), str(tmp_path / "work")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses(tmp_path / "work") == pytest.approx(alone, rel=TOLERANCE)


def test_a_rank_of_srun_knows_its_place():
    code = (
        "import os; from iqaflow.train.ranks import worker; worker.environment();"
        "print(*(os.environ[name] for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE')))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    clean["PYTHONPATH"] = os.pathsep.join(sys.path)
    slurm = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8"}
    for extra, wanted in ((slurm, "5 1 8"), ({}, "0 0 1")):
        done = subprocess.run([sys.executable, "-c", code], env={**clean, **extra}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == wanted


@pytest.fixture
def hosts():
    """Two network namespaces joined by a cable: hosts that see each other by address only."""
    names = [f"iqaflow{os.getpid()}{end}" for end in "ab"]
    commands = [["ip", "netns", "add", name] for name in names]
    commands.append(["ip", "link", "add", "iqa0", "netns", names[0], "type", "veth", "peer", "name", "iqa0", "netns", names[1]])
    for number, name in enumerate(names, 1):
        inside = ["ip", "-n", name]
        commands += [
            [*inside, "addr", "add", f"{NETWORK}.{number}/24", "dev", "iqa0"],
            [*inside, "link", "set", "iqa0", "up"],
            [*inside, "link", "set", "lo", "up"],
        ]
    if not shutil.which("ip"):
        pytest.skip("needs iproute2")
    try:
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"this machine makes no network namespaces: {done.stderr.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def on(host: str, number: int, command: list[str]) -> subprocess.Popen:
    """Start a command on a host, in its own session."""
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *command],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "iqa0",
            "PET_LOCAL_ADDR": f"{NETWORK}.{number}",
            "DS_ACCELERATOR": "cpu",
        },
    )


def wait_for(there, processes, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not there() and time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.1)


@pytest.mark.slow
def test_a_training_on_two_hosts_survives_the_loss_of_one(annotated, tmp_path, small_config, hosts):
    root = tmp_path / "work"
    shutil.copytree(annotated, root)
    config = configured(
        small_config,
        {"ranks": 1, "nodes": 2, "launcher": "torchrun", "rendezvous": f"{NETWORK}.1:29477"},
        max_steps=8,
        checkpoint_steps=1,
    )
    (root / "config.json").write_text(json.dumps(config.tree()))
    code = (
        "import json, sys; from pathlib import Path; from iqaflow.core.config import Config; from iqaflow.train import stage;"
        "from iqaflow.core.workspace import Workspace; root = Path(sys.argv[1]);"
        "stage.run(Config.model_validate(json.loads((root / 'config.json').read_text())), Workspace(root))"
    )

    def begin() -> list[subprocess.Popen]:
        first = on(hosts[0], 1, [sys.executable, "-c", code, str(root)])
        wait_for(lambda: list(root.glob(".iqaflow/scratch/train/*/job.json")), [first])
        job = next(root.glob(".iqaflow/scratch/train/*/job.json"))
        ((command, _),) = launch.commands(config, job, 1, 0, first=False)
        return [first, on(hosts[1], 2, command)]

    processes = begin()
    try:
        wait_for(lambda: list(root.glob(".iqaflow/scratch/train/*/checkpoints/step-*")), processes)
        assert list(root.glob(".iqaflow/scratch/train/*/checkpoints/step-*"))
        os.killpg(processes[1].pid, signal.SIGKILL)  # the second host is gone
        assert processes[0].wait(120) != 0
        assert not (root / "models" / "stage1").exists()
        processes = begin()
        assert [process.wait(240) for process in processes] == [0, 0]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    other = tmp_path / "other"
    shutil.copytree(annotated, other)
    stage.run(configured(small_config, {"ranks": 1}, max_steps=8), Workspace(other))
    assert losses(root) == pytest.approx(losses(other), rel=TOLERANCE)

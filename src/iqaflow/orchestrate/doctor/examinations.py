"""The doctor's examinations, each group in a process of its own (orchestrate/doctor/report.py runs them).

python -m iqaflow.orchestrate.doctor.examinations data /tmp/somewhere .
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from iqaflow.core import environment, process
from iqaflow.core.clients import git
from iqaflow.core.security import loopback
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.doctor.report import Finding, version
from iqaflow.orchestrate.services import lifecycle, servers


def orchestration(folder: Path, root: Path) -> Iterator[Finding]:
    """A Prefect server, a flow with a task on it, and the scheduler making runs of a cron schedule."""
    os.environ["PREFECT_UI_ENABLED"] = "false"
    with _running("prefect", folder) as entry:
        os.environ |= servers.credentials(Workspace(folder), entry["address"])
        from prefect import flow, task
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.actions import DeploymentScheduleCreate
        from prefect.client.schemas.schedules import CronSchedule

        servers.wait("prefect", entry, Workspace(folder))

        @task
        def add(a: int, b: int) -> int:
            return a + b

        @flow(name="doctor")
        def sums() -> int:
            return add(add(1, 2), 3)

        assert sums() == 6
        with get_client(sync_client=True) as client:
            schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron="* * * * *"), active=True)
            deployment = client.create_deployment(client.create_flow(sums), "tick", schedules=[schedule])
            _wait(lambda: any(run.deployment_id == deployment for run in client.read_flow_runs()), 20)
    yield Finding("Prefect", "server up, flow of two tasks run, scheduler made runs of a cron", version=version("prefect"))


def tracking(folder: Path, root: Path) -> Iterator[Finding]:
    """An MLflow SQLite store with a run, and a server on it."""
    import mlflow

    workspace = Workspace(folder)
    uri = f"sqlite:///{workspace.mlruns / 'mlflow.db'}"
    workspace.mlruns.mkdir()
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("doctor", artifact_location=(workspace.mlruns / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        mlflow.log_params({"lr": 1e-3})
        mlflow.log_metric("loss", 0.5, step=1)
        mlflow.log_text("hello", "note.txt")
    with _running("mlflow", folder) as entry:
        servers.wait("mlflow", entry, workspace)
    yield Finding("MLflow", "run logged to SQLite, server up", version=version("mlflow"))


def learning(folder: Path, root: Path) -> Iterator[Finding]:
    """A step of torch, a tiny vision-language model of transformers, a step of DeepSpeed on one gloo rank."""
    import torch

    started = time.monotonic()
    model = torch.nn.Linear(8, 2)
    model(torch.ones(4, 8)).sum().backward()
    where = f"CUDA: {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else "CPU"
    yield Finding("torch", f"backward pass; {where}", version=torch.__version__)

    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": 128,
        "rope_scaling": {"mrope_section": [4, 2, 2], "rope_type": "default", "mrope_interleaved": True},
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "deepstack_visual_indexes": [0],
    }
    vlm = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision))
    assert torch.isfinite(vlm(input_ids=torch.ones(1, 6, dtype=torch.long)).logits).all()
    yield Finding("transformers", "forward pass of a tiny Qwen3-VL", version=version("transformers"))

    os.environ |= {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": loopback.HOST,
        "MASTER_PORT": str(loopback.free_port(0)),
    }
    import deepspeed
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # building it takes a minute, and one rank needs none
    deepspeed.logger.setLevel("ERROR")
    settings = {"train_micro_batch_size_per_gpu": 4, "zero_allow_untested_optimizer": True}
    engine, *_ = deepspeed.initialize(model=model, optimizer=torch.optim.AdamW(model.parameters()), config=settings)
    engine.backward(engine(torch.ones(4, 8, device=engine.device)).sum())
    engine.step()
    yield Finding(
        "DeepSpeed",
        f"optimizer step, one rank, {torch.distributed.get_backend()}, {time.monotonic() - started:.0f} s in all",
        version=version("deepspeed"),
    )


def data(folder: Path, root: Path) -> Iterator[Finding]:
    """Great Expectations finds a planted fault."""
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("doctor").add_dataframe_asset("frame")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": pd.DataFrame({"score": [0.2, 1.7]})})
    assert not batch.validate(gxe.ExpectColumnValuesToBeBetween(column="score", min_value=0, max_value=1)).success
    assert batch.validate(gxe.ExpectColumnValuesToNotBeNull(column="score")).success
    yield Finding("Great Expectations", "planted fault found, clean column passed", version=version("great-expectations"))


def graph(folder: Path, root: Path) -> Iterator[Finding]:
    """A git repository with DVC in it, a stage run once and not twice."""

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[-2:])}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        return done.stdout

    dvc = [sys.executable, "-m", "dvc"]
    git.run(folder, "init", "-q")
    call(*dvc, "init", "-q")
    (folder / "dvc.yaml").write_text("stages:\n  hello:\n    cmd: echo hello > hello.txt\n    outs: [hello.txt]\n")
    assert "Running stage" in call(*dvc, "repro")
    assert "didn't change" in call(*dvc, "repro")
    yield Finding("DVC and git", "stage run once, then up to date", version=version("dvc"))


def machine(folder: Path, root: Path) -> Iterator[Finding]:
    """What the machine offers; none of it but disk space is needed."""
    compiler = _compiler()
    yield Finding(
        "compiler",
        "g++ and ninja are there, for DeepSpeed's optional CPU operators"
        if compiler
        else "no g++ or ninja: everything works, only DeepSpeed's optional CPU operators cannot be built",
        ok=bool(compiler),
        needed=False,
        version=compiler,
    )
    free = shutil.disk_usage(root).free / 1e9
    yield Finding("disk", f"{free:.1f} GB free at {root}", ok=free > 1)
    running = lifecycle.addresses(Workspace(root))
    busy = [
        f"{port} ({name})" for name, port in lifecycle.PORTS.items() if name not in running and loopback.free_port(port) != port
    ]
    yield Finding(
        "ports",
        f"in use: {', '.join(busy)}; `iqaflow up` takes others"
        if busy
        else f"{', '.join(str(port) for port in lifecycle.PORTS.values())} free"
        + (f" or ours ({', '.join(running)})" if running else ""),
        ok=not busy,
        needed=False,
    )


def _compiler() -> str:
    """Version of g++, empty without g++ or ninja."""
    if not (shutil.which("g++") and shutil.which("ninja")):
        return ""
    return subprocess.run(["g++", "-dumpversion"], capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def _running(name: str, folder: Path) -> Iterator[servers.Entry]:
    """A server as `iqaflow up` starts it, scheduler included, with its state in `folder`."""
    with loopback.listen(0) as listening:
        entry = servers.start(name, Workspace(folder), listening, tied=True)
    try:
        yield entry
    finally:
        process.kill_tree(int(entry["who"].partition(":")[0]))


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no answer within {seconds:.0f} s")
        time.sleep(0.2)


def main() -> None:
    """Examine one group; a finding per line as JSON, and on failure the reason as the last line."""
    group, folder, root = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    environment.prepare()
    started = time.monotonic()
    try:
        for finding in globals()[group](folder, root):
            finding.seconds, started = time.monotonic() - started, time.monotonic()
            print(json.dumps(asdict(finding)), flush=True)
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:180]}", flush=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()

"""Starts the ranks of a training, follows them, and starts them anew where a step went wrong, memory ran out or a rank hangs.

| `resources.launcher` | ranks are started by |
|---|---|
| `local` | this process, on this machine |
| `torchrun` | torchrun; of `resources.nodes` hosts this is the first, the others join by the command it prints |
| `deepspeed` | the deepspeed launcher, on the hosts of `resources.hostfile` |
| `slurm` | srun, inside an allocation of `resources.nodes` nodes |
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from iqaflow.core.config import Config
from iqaflow.core.errors import DamagedError, NoSpaceError, PipelineError, StageError
from iqaflow.core.files import write_json
from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.train.deepspeed import RENDEZVOUS
from iqaflow.train.ranks.heartbeat import Watch

POLL_SECONDS = 0.5
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}  # where ranks of one host speak to each other
RESTARTS = 3  # after ranks that hang, without a newer checkpoint in between
AGAIN = 75  # exit code of a rank that wants all ranks started anew
FULL = 28  # exit code of a rank that could not even write down why it ends
STOPPED = 130  # exit code of a rank that was asked to stop and committed its checkpoint
SLURM_KILL_SECONDS = 60  # above SLURM's KillWait of 30
WORKER = ("-m", "iqaflow.train.ranks.worker")
log = logging.getLogger(__name__)


class Failure(TypedDict):
    """Why an attempt ended: a sentence, the exit code of the rank that says it, whether memory ran out, or who hung."""

    sentence: str
    code: NotRequired[int]
    out_of_memory: NotRequired[bool]
    hung: NotRequired[str]


def ranks(config: Config) -> int:
    """Ranks on this machine: GPUs where there are any, else free cores; a divisor of the micro-batches of a step."""
    wanted = config.resources.ranks
    if wanted == "auto":
        from iqaflow.core.process import free_cores

        wanted = _gpus() or max(1, free_cores() // config.resources.threads)
    nodes = config.resources.nodes
    shared = config.train.micro_batches // nodes
    if config.train.micro_batches % nodes:
        raise StageError(
            f"train.micro_batches={config.train.micro_batches} cannot be shared by resources.nodes={nodes}: make it a multiple."
        )
    most = min(int(wanted), shared)
    return next(number for number in range(most, 0, -1) if shared % number == 0)


def _gpus() -> int:
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        return 0
    import torch

    return torch.cuda.device_count()


def train(config: Config, workspace: Workspace, work: Path) -> None:
    """Run all ranks until `work/finished` is there. Raises StageError or PipelineError with the reason of the first rank that
    failed; what was learnt so far stays in `work/checkpoints`.
    """
    here = ranks(config)
    hung: list[int] = []  # the checkpoints at which ranks hung
    while True:
        for old in work.glob("failure-*.json"):
            old.unlink()
        write_json(work / "job.json", {"config": config.tree(), "root": str(workspace.root), "work": str(work)})
        failure = _attempt(config, work, here)
        if failure is None:
            return
        if failure.get("out_of_memory"):
            config = halved(config, failure["sentence"])
        if failure.get("hung"):
            hung = [step for step in hung if step == _newest_step(work)] + [_newest_step(work)]
            if len(hung) > RESTARTS:
                raise PipelineError(
                    f"Training hung {len(hung)} times after step {hung[-1]} (at last, {failure['hung']}): see "
                    f"{work / 'rank-0.log'}; if a step takes that long, set resources.hang_seconds higher."
                )
        log.warning("train: %s", failure["sentence"])


def halved(config: Config, sentence: str) -> Config:
    """The same global batch in micro-batches of half the size."""
    train = config.train
    if train.micro_batch % 2 or train.tokens:
        what = f"train.tokens={train.tokens}" if train.tokens else f"train.micro_batch={train.micro_batch}"
        raise StageError(
            f"Training does not fit into memory with {what} ({sentence[:200]}): lower it, train.max_pixels or "
            "train.questions, or set train.gradient_checkpointing or a higher train.zero_stage."
        )
    smaller = {"micro_batch": train.micro_batch // 2, "micro_batches": train.micro_batches * 2}
    log.warning("train: out of memory; going on with micro-batches of %d", smaller["micro_batch"])
    return config.model_copy(update={"train": train.model_copy(update=smaller)})


def commands(config: Config, job: Path, here: int, port: int, first: bool = True) -> list[tuple[list[str], dict[str, str]]]:
    """The processes to start on this machine, each with what is new in its environment; of `torchrun` those of the first host,
    where the others meet, or of another.
    """
    resources = config.resources
    worker = [*WORKER, str(job)]
    nodes = str(resources.nodes)
    if resources.launcher == "torchrun":
        meeting = resources.rendezvous or f"127.0.0.1:{port}"
        return [
            (
                [
                    sys.executable,
                    "-m",
                    "torch.distributed.run",
                    "--nnodes",
                    nodes,
                    "--nproc-per-node",
                    str(here),
                    "--rdzv-backend",
                    "c10d",
                    "--rdzv-id",
                    job.parent.name,
                    "--rdzv-endpoint",
                    meeting,
                    "--rdzv-conf",
                    f"is_host={int(first)}",
                    *worker,
                ],
                {},
            )
        ]
    if resources.launcher == "deepspeed":
        hosts = ["--hostfile", resources.hostfile] if resources.hostfile else ["--num_gpus", str(here)]
        return [
            ([sys.executable, "-m", "deepspeed.launcher.runner", *hosts, "--master_port", str(port), "--module", *worker[1:]], {})
        ]
    if resources.launcher == "slurm":
        return [
            (
                ["srun", "--nodes", nodes, "--ntasks-per-node", str(here), "--kill-on-bad-exit=1", sys.executable, *worker],
                {"MASTER_ADDR": _first_host(), "MASTER_PORT": str(port)},
            )
        ]
    shared = {"WORLD_SIZE": str(here), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [([sys.executable, *worker], {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(here)]


def _first_host() -> str:
    """The first host of a SLURM allocation, where rank 0 will be."""
    nodes = os.environ.get("SLURM_JOB_NODELIST")
    if not nodes:
        raise StageError("resources.launcher=slurm works inside an allocation: use salloc or sbatch.")
    return subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True).stdout.split()[0]


def _newest_step(work: Path) -> int:
    """The step from which ranks would continue."""
    return max((int(folder.name[5:]) for folder in (work / "checkpoints").glob("step-*")), default=0)


def _attempt(config: Config, work: Path, here: int) -> Failure | None:
    """Start everything once and wait. None when the model is there, else why to try again."""
    from iqaflow.core.process import stop
    from iqaflow.core.security.loopback import free_port

    job, port, resources = work / "job.json", free_port(0), config.resources
    together = resources.nodes == 1 and not resources.hostfile
    watch = Watch(work, 0 if resources.hostfile else here * resources.nodes, resources.hang_seconds, together)
    processes: list[subprocess.Popen[Any]] = []
    if config.resources.launcher == "torchrun" and config.resources.nodes > 1:
        ((command, _),) = commands(config, job, here, port, first=False)
        log.warning("train: on the other hosts run: %s", shlex.join(command))  # also with --quiet: they wait for it
    meeting = Path(tempfile.mkdtemp(prefix="iqaflow-ranks-"))  # not in the work folder: its file system may know no locks
    try:
        for number, (command, environment) in enumerate(commands(config, job, here, port)):
            if resources.launcher == "local":
                environment |= {RENDEZVOUS: str(meeting / "store"), **LOOPBACK}
            with (work / f"rank-{number}.log").open("w") as output:
                processes.append(
                    subprocess.Popen(
                        command,
                        stdout=output,
                        stderr=output,
                        stdin=subprocess.DEVNULL,
                        start_new_session=True,
                        env={**os.environ, "OMP_NUM_THREADS": str(config.resources.threads), **environment},
                    )
                )
        return _follow(processes, work, watch, resources.launcher)
    finally:
        for process in processes:
            if process.poll() is None:
                stop(process)
        shutil.rmtree(meeting, ignore_errors=True)


def _follow(processes: list[subprocess.Popen[Any]], work: Path, watch: Watch, launcher: str) -> Failure | None:
    """Wait for all ranks, showing and recording their steps; the first that fails or hangs ends them all."""
    from iqaflow.core.progress import Bar
    from iqaflow.track import current
    from iqaflow.train.step_log import rows

    run, seen = current(), 0
    shown: set[Path] = set()
    local = launcher == "local"  # its processes are the ranks themselves
    with Bar(f"train: {len(watch.ranks) or 'all'} rank{'s' if len(watch.ranks) != 1 else ''}") as bar:
        while True:
            codes = [process.poll() for process in processes]
            logged = rows(work / "steps.jsonl")
            if len(logged) < seen:
                seen = 0  # a resumed log was just trimmed to its checkpoint
            for row in logged[seen:]:
                bar.update(row["step"], row["steps"], f"loss {row['loss']:.3f}")
                if run is not None:
                    run.log({key: value for key, value in row.items() if key not in ("step", "steps")}, step=row["step"])
            seen = len(logged)
            for sheet in sorted(set((work / "probes").glob("0*.png")) - shown):
                shown.add(sheet)
                if run is not None:
                    run.image(sheet, "probes", int(sheet.stem))
            if any(codes):
                return _failure(work, next(code for code in codes if code))
            if all(code == 0 for code in codes):
                break
            ended = [number for number, code in enumerate(codes) if code == 0] if local else []
            hang = watch.look(
                [row["step_seconds"] for row in logged], ended, [process.pid for process in processes] if local else []
            )
            if hang is not None:
                _kill(processes, launcher)
                if finished(work):
                    log.warning("train: %s; the model is there, so it is done", hang.words)
                    return None
                return {"sentence": f"{hang.words}: all ranks start anew from the last checkpoint", "hung": hang.words}
            time.sleep(POLL_SECONDS)
    if not finished(work):
        raise PipelineError(f"Training ended without a model; its log is {work / 'rank-0.log'}.")
    return None


def _kill(processes: list[subprocess.Popen[Any]], launcher: str) -> None:
    """End all ranks at once: one that is stopped, or waits for the others, hears no polite signal."""
    from iqaflow.core.process import kill_tree

    for process in processes:
        if launcher == "slurm":  # srun ends its tasks on all hosts when it is interrupted twice within a second
            for _ in range(2):
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            try:
                process.wait(SLURM_KILL_SECONDS)
            except subprocess.TimeoutExpired:
                log.warning("train: srun does not end its tasks")
        kill_tree(process.pid)
        process.wait()


def _failure(work: Path, code: int) -> Failure:
    """What the ranks told, if it is a reason to try again; raised otherwise."""
    reasons: list[Failure] = [json.loads(path.read_text()) for path in sorted(work.glob("failure-*.json"))]
    again = [reason for reason in reasons if reason["code"] == AGAIN]  # the others then only lost their peer
    if again:
        return max(again, key=lambda reason: reason.get("out_of_memory", False))
    if reasons:
        first = reasons[0]
        raise PipelineError(first["sentence"]) if first["code"] in (1, STOPPED) else StageError(first["sentence"])
    if code == FULL:
        raise NoSpaceError(FULL, f"No space left in {work}: free some disk space and run the same command again")
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    raise PipelineError(f"A training rank {how}; its log is {work / 'rank-0.log'}; run again to continue.")


def finished(work: Path) -> bool:
    """Whether the trained model is there, whole."""
    try:
        read_manifest(work / "finished", verify=True)
    except DamagedError:
        return False
    return (work / "train.csv").is_file()

"""Stage train: `data/annotated` and a base to `models/stage1`, by DeepSpeed on as many ranks as are free.

    iqaflow train

A killed run continues from its last committed checkpoint; the result does not depend on the number of ranks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from iqaflow.config import Config
from iqaflow.ops.errors import PipelineError, StageError
from iqaflow.ops.files import DamagedError, commit_directory, read_manifest, write_json
from iqaflow.workspace import StageResult, Workspace

POLL_SECONDS = 0.5


def run(config: Config, workspace: Workspace) -> StageResult:
    """Fine-tune and write `models/stage1` and `reports/train.csv`. Raises StageError after three non-finite steps."""
    manifest = read_manifest(workspace.annotated, verify=True)
    work = workspace.scratch("train") / _key(config, workspace, manifest)
    for stale in workspace.scratch("train").glob("*"):
        if stale != work:
            shutil.rmtree(stale, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    if not _finished(work):
        _launch(config, workspace, work)
    rows = [json.loads(line) for line in (work / "steps.jsonl").read_text().splitlines()]
    finished = work / "finished"
    (finished / "manifest.json").unlink()
    commit_directory(finished, workspace.stage1, {"schema": "iqaflow.model/1", "base": config.train.base,
                                                  "data": _digest(manifest), "steps": rows[-1]["steps"]})
    workspace.reports.mkdir(exist_ok=True)
    os.replace(work / "train.csv", workspace.reports / "train.csv")
    shutil.rmtree(work)
    result = StageResult("train", metrics=_metrics(rows), markdown=_markdown(config, rows),
                         artifacts=[workspace.relative(workspace.reports / "train.csv")])
    result.save(workspace)
    return result


def ranks(config: Config) -> int:
    """Ranks on this machine: GPUs where there are any, else free cores; a divisor of the micro-batches of a step."""
    wanted = config.resources.ranks
    if wanted == "auto":
        from iqaflow.ops.cores import free_cores

        wanted = _gpus() or max(1, free_cores() // config.resources.threads)
    wanted = min(int(wanted), config.train.micro_batches)
    return next(number for number in range(wanted, 0, -1) if config.train.micro_batches % number == 0)


def _gpus() -> int:
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        return 0
    import torch

    return torch.cuda.device_count()


def _launch(config: Config, workspace: Workspace, work: Path) -> None:
    from iqaflow.ops.process import stop
    from iqaflow.ops.services import free_port

    world = ranks(config)
    for old in work.glob("failure-*.json"):
        old.unlink()
    write_json(work / "job.json", {"config": config.tree(), "root": str(workspace.root), "work": str(work)})
    shared = {**os.environ, "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port(0)),
              "OMP_NUM_THREADS": str(config.resources.threads)}
    processes = []
    try:
        for rank in range(world):
            log = (work / f"rank-{rank}.log").open("w")
            processes.append(subprocess.Popen(
                [sys.executable, "-m", "iqaflow.train.worker", str(work / "job.json")], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            ))
            log.close()
        _follow(processes, work, world)
    finally:
        for process in processes:
            stop(process)


def _follow(processes: list[subprocess.Popen[bytes]], work: Path, world: int) -> None:
    """Wait for all ranks, showing and recording their steps; the first failure ends them all."""
    from iqaflow.ops.progress import Bar
    from iqaflow.track import current

    run, seen = current(), 0
    shown: set[Path] = set()
    with Bar(f"train: {world} rank{'s' if world > 1 else ''}") as bar:
        while True:
            codes = [process.poll() for process in processes]
            lines = (work / "steps.jsonl").read_text().splitlines() if (work / "steps.jsonl").is_file() else []
            if len(lines) < seen:
                seen = 0  # a resumed log was just trimmed to its checkpoint
            for line in lines[seen:]:
                try:
                    row = json.loads(line)
                except ValueError:
                    break  # still being written
                seen += 1
                bar.update(row["step"], row["steps"], f"loss {row['loss']:.3f}")
                if run is not None:
                    run.log({key: value for key, value in row.items() if key not in ("step", "steps")}, step=row["step"])
            for sheet in sorted(set((work / "probes").glob("0*.png")) - shown):
                shown.add(sheet)
                if run is not None:
                    run.image(sheet, "probes", int(sheet.stem))
            if any(code for code in codes):
                raise _failure(work, next(code for code in codes if code))
            if all(code == 0 for code in codes):
                break
            time.sleep(POLL_SECONDS)
    if not _finished(work):
        raise PipelineError(f"Training ended without a model; its log is {work / 'rank-0.log'}.")


def _failure(work: Path, code: int) -> Exception:
    for path in sorted(work.glob("failure-*.json")):
        told = json.loads(path.read_text())
        return StageError(told["sentence"]) if told["code"] != 1 else PipelineError(told["sentence"])
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return PipelineError(f"A training rank {how}; its log is {work / 'rank-0.log'}; run again to continue.")


def _finished(work: Path) -> bool:
    try:
        read_manifest(work / "finished", verify=True)
    except DamagedError:
        return False
    return (work / "train.csv").is_file()


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest()


def _key(config: Config, workspace: Workspace, manifest: dict[str, Any]) -> str:
    """What the weights depend on; a run with another key never continues this one's checkpoints."""
    tree = config.tree()["train"]
    for free in ("checkpoint_steps", "keep_checkpoints"):
        tree.pop(free)
    base = workspace.root / config.train.base / "model.safetensors"
    weights = hashlib.sha256(base.read_bytes()).hexdigest() if base.is_file() else config.train.base
    package = Path(__file__).parents[1]
    code = [path.read_bytes() for folder in ("model", "train", "tasks") for path in sorted((package / folder).rglob("*.py"))]
    text = json.dumps([config.seed, config.resources.threads, tree, weights, _digest(manifest)], sort_keys=True)
    return hashlib.sha256(text.encode() + b"".join(code)).hexdigest()[:16]


def _metrics(rows: list[dict[str, Any]]) -> dict[str, float]:
    tail = rows[-max(1, len(rows) // 10):]
    mean = {key: sum(row[key] for row in tail) / len(tail) for key in ("loss", "samples_per_second", "data_wait_share")}
    return {"final_loss": mean["loss"], "steps": float(rows[-1]["steps"]), "samples_per_second": mean["samples_per_second"],
            "data_wait_share": mean["data_wait_share"], "memory_gib": max(row["memory_gib"] for row in rows)}


def _markdown(config: Config, rows: list[dict[str, Any]]) -> str:
    values = _metrics(rows)
    return (f"## train\n\n{int(values['steps'])} steps from `{config.train.base}`: loss {rows[0]['loss']:.3f} to "
            f"{values['final_loss']:.3f}, {values['samples_per_second']:.1f} packs/s, "
            f"{values['data_wait_share']:.0%} of the time waiting for data, {values['memory_gib']:.1f} GiB per rank.\n")

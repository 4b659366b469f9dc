"""Stage train: `data/annotated` and a base to `models/stage1`, by DeepSpeed on as many ranks as are free.

    iqaflow train

A killed run continues from its last committed checkpoint; the result does not depend on the number of ranks.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from iqaflow.core.config import Config
from iqaflow.core.files import write_bytes
from iqaflow.core.manifest import commit_directory, read_manifest
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.tasks import vocabulary
from iqaflow.train import step_log
from iqaflow.train.ranks import launch


def run(config: Config, workspace: Workspace) -> StageResult:
    """Fine-tune and write `models/stage1` and `reports/train.csv`. Raises StageError after three non-finite steps."""
    manifest = read_manifest(workspace.annotated, verify=True)
    work = workspace.scratch("train") / _key(config, workspace, manifest)
    for stale in workspace.scratch("train").glob("*"):
        if stale != work:
            shutil.rmtree(stale, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    if not launch.finished(work):
        launch.train(config, workspace, work)
    rows = step_log.rows(work / "steps.jsonl")
    finished = work / "finished"
    (finished / "manifest.json").unlink()
    commit_directory(
        finished,
        workspace.stage1,
        {
            "schema": "iqaflow.model/1",
            "base": config.train.base,
            "data": _digest(manifest),
            "steps": rows[-1]["steps"],
            vocabulary.KEY: vocabulary.current().tree(),
        },
    )
    write_bytes(workspace.reports / "train.csv", (work / "train.csv").read_bytes())
    shutil.rmtree(work)
    result = StageResult(
        "train",
        metrics=_metrics(rows),
        markdown=_markdown(config, rows),
        artifacts=[workspace.relative(workspace.reports / "train.csv")],
    )
    result.save(workspace)
    return result


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest()


def _key(config: Config, workspace: Workspace, manifest: dict[str, Any]) -> str:
    """What the weights depend on; a run with another key never continues this one's checkpoints."""
    tree = config.tree()["train"]
    for free in ("checkpoint_steps", "keep_checkpoints", "zero_stage", "offload"):  # checkpoints know their ZeRO stage
        tree.pop(free)
    base = workspace.root / config.train.base / "model.safetensors"
    weights = hashlib.sha256(base.read_bytes()).hexdigest() if base.is_file() else config.train.base
    package = Path(__file__).parents[1]
    code = [path.read_bytes() for folder in ("model", "train", "tasks") for path in sorted((package / folder).rglob("*.py"))]
    text = json.dumps(
        [config.seed, config.resources.threads, tree, weights, _digest(manifest), vocabulary.current().tree()], sort_keys=True
    )
    return hashlib.sha256(text.encode() + b"".join(code)).hexdigest()[:16]


def _metrics(rows: list[dict[str, Any]]) -> dict[str, float]:
    tail = rows[-max(1, len(rows) // 10) :]
    mean = {key: sum(row[key] for row in tail) / len(tail) for key in ("loss", "samples_per_second", "data_wait_share")}
    return {
        "final_loss": mean["loss"],
        "steps": float(rows[-1]["steps"]),
        "samples_per_second": mean["samples_per_second"],
        "data_wait_share": mean["data_wait_share"],
        "memory_gib": max(row["memory_gib"] for row in rows),
    }


def _markdown(config: Config, rows: list[dict[str, Any]]) -> str:
    values = _metrics(rows)
    return (
        f"## train\n\n{int(values['steps'])} steps from `{config.train.base}`: loss {rows[0]['loss']:.3f} to "
        f"{values['final_loss']:.3f}, {values['samples_per_second']:.1f} packs/s, "
        f"{values['data_wait_share']:.0%} of the time waiting for data, {values['memory_gib']:.1f} GiB per rank.\n"
    )

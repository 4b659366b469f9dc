"""Stage annotate: photographs and labels to `data/annotated`, shard by shard (shards.py).

    iqaflow annotate

A killed run continues with the missing shards; any engine and any number of workers give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import TypedDict

from iqaflow import regions, sources
from iqaflow.annotate import shards
from iqaflow.core import lock, plugins
from iqaflow.core.config import Config
from iqaflow.core.manifest import commit_directory
from iqaflow.core.version import VERSION
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.data.photographs import OWN, Index, LeftOut
from iqaflow.data.tables import SPLITS

CODE = ("distortions", "data", "tasks", "annotate")


class Counts(TypedDict):
    """Images of each split and of each data set, questions of each task."""

    images: dict[str, int]
    conversations: dict[str, int]
    datasets: dict[str, int]


def run(config: Config, workspace: Workspace) -> StageResult:
    """Write `data/annotated`. Raises StageError if the source has no usable photographs, or if another annotation is at work
    in this workspace.
    """
    with lock.hold(workspace.state / "locks" / "annotated.lock", "annotation"):
        return _run(config, workspace)


def _run(config: Config, workspace: Workspace) -> StageResult:
    index = sources.index(config, workspace)
    labelled, left_out, scores = _labelled(config, index, workspace)
    work = workspace.scratch("annotate") / _key(config, index)
    for stale in workspace.scratch("annotate").glob("*"):
        if stale != work:
            shutil.rmtree(stale, ignore_errors=True)
    plan = shards.plan(config, labelled)
    missing = [shard for shard in plan if not shards.done(work, shard)]
    if missing:
        _make(missing, len(plan), work, config, workspace)
    counts = _counts(work)
    for marker in (*work.glob("shard-*.json"), *work.glob(".shard-*.json.*")):  # the latter: a process killed while writing one
        marker.unlink()
    shutil.rmtree(work / shards.UNFINISHED, ignore_errors=True)
    bare = regions.left_out([photograph for split in SPLITS for photograph in index.of(split)], config, workspace)
    left_out = [*index.quarantine, *left_out, *bare]
    commit_directory(
        work,
        workspace.annotated,
        {
            "schema": "iqaflow.annotated/1",
            "pipeline_version": VERSION,
            "seed": config.seed,
            "source": index.kind,
            "photographs": {split: len(index.of(split)) for split in SPLITS},
            "counts": counts,
            # whatever plugin changes, all that follows is made anew: every later stage depends on this file
            **{name: digest for name, digest in index.inputs.items() if name == plugins.NAME},
        },
    )
    result = StageResult(
        "annotate",
        metrics={f"images_{split}": float(counts["images"][split]) for split in SPLITS}
        | {"conversations": float(sum(counts["conversations"].values())), "quarantined": float(len(left_out))},
        markdown=_markdown(index, counts, left_out, scores),
        details={"counts": counts, "quarantine": left_out[:100], "score_sources": scores},
    )
    result.save(workspace)
    return result


def _labelled(
    config: Config, index: Index, workspace: Workspace
) -> tuple[dict[str, dict[str, int]], list[LeftOut], dict[str, str]]:
    """How many items each labelled data set has in each split, what is left out of them, and where their scores come from."""
    counts: dict[str, dict[str, int]] = {}
    left_out: list[LeftOut] = []
    scores: dict[str, str] = {}
    for data_set in config.source.labelled:
        from iqaflow.annotate import labelled

        items, problems = labelled.items(data_set, index, workspace)
        counts[data_set.name] = {split: len(items[split]) for split in SPLITS}
        left_out += problems
        if origins := {item.score_source for split in SPLITS for item in items[split] if item.score is not None}:
            scores[data_set.name] = ", ".join(sorted(origins))
    return counts, left_out, scores


def _make(missing: list[shards.Shard], total: int, work: Path, config: Config, workspace: Workspace) -> None:
    from joblib import delayed

    from iqaflow.core.progress import progress

    with shards.engine(config, _workers(config)) as run_all:
        calls = [delayed(shards.make)(work, shard, config, workspace) for shard in missing]
        for _ in progress(run_all(calls), len(missing), f"annotate: {len(missing)} of {total} shards"):
            pass


def _counts(work: Path) -> Counts:
    images: Counter[str] = Counter()
    questions: Counter[str] = Counter()
    datasets: Counter[str] = Counter()
    for marker in sorted(work.glob("shard-*.json")):
        entry = shards.read_marker(work, marker.stem.removeprefix("shard-"))
        images[entry["split"]] += entry["images"]
        datasets[entry["dataset"]] += entry["images"]
        questions.update(entry["tasks"])
    return {
        "images": {split: images[split] for split in SPLITS},
        "conversations": dict(sorted(questions.items())),
        "datasets": dict(sorted(datasets.items())),
    }


def _key(config: Config, index: Index) -> str:
    """What the shards depend on: parameters, photographs and the code that makes them."""
    digest = hashlib.sha256()
    tree = config.tree()
    read = index.model_dump()
    digest.update(
        json.dumps(
            [config.seed, tree["annotate"], tree["source"]["labelled"], read["photographs"], read["inputs"]], sort_keys=True
        ).encode()
    )
    package = Path(__file__).parents[1]
    for folder in CODE:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _workers(config: Config) -> int:
    from iqaflow.core.process import free_cores

    if config.resources.engine == "sequential":
        return 1
    return free_cores() if config.resources.workers == "auto" else int(config.resources.workers)


def _markdown(index: Index, counts: Counts, left_out: list[LeftOut], scores: dict[str, str]) -> str:
    rows = "\n".join(f"| {split} | {len(index.of(split))} | {counts['images'][split]} |" for split in SPLITS)
    questions = ", ".join(f"{task} {number}" for task, number in counts["conversations"].items())
    others = ", ".join(f"{name} {number}" for name, number in counts["datasets"].items() if name != OWN)
    named = "".join(f"\n- `{entry['file']}`: {entry['reason']}" for entry in left_out[:20])
    return (
        f"## annotate\n\n| split | photographs | images |\n|---|---|---|\n{rows}\n\nQuestions: {questions}.\n"
        + (f"\nImages of labelled data sets: {others}.\n" if others else "")
        + "".join(f"\nScores of `{name}`: {origins}.\n" for name, origins in scores.items())
        + (f"\n{len(left_out)} files or entries left out, first:{named}\n" if left_out else "")
    )

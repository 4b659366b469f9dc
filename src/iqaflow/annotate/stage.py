"""Stage annotate: photographs to `data/annotated`, shard by shard.

    iqaflow annotate

A shard is a deterministic function of (configuration, photographs, seed): a killed run continues with the missing ones,
and any engine and any number of workers give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from iqaflow import __version__
from iqaflow.config import Config
from iqaflow.data import sources, tables
from iqaflow.data.tables import SPLITS
from iqaflow.ops.files import commit_directory, sha256, write_json
from iqaflow.workspace import StageResult, Workspace

CODE = ("distortions", "data", "tasks", "annotate")


def run(config: Config, workspace: Workspace) -> StageResult:
    """Write `data/annotated`. Raises StageError if the source has no usable photographs."""
    from iqaflow.ops.progress import progress

    found = sources.index(config, workspace)
    work = workspace.scratch("annotate") / _key(config, found)
    for stale in workspace.scratch("annotate").glob("*"):
        if stale != work:
            shutil.rmtree(stale, ignore_errors=True)
    jobs = _jobs(config)
    missing = [job for job in jobs if not _done(work, job[0])]
    if missing:
        from joblib import Parallel, delayed

        calls = (delayed(_shard)(work, job, config, found, workspace) for job in missing)
        parallel = Parallel(n_jobs=_workers(config), backend=config.resources.engine, return_as="generator_unordered")
        for _ in progress(parallel(calls), len(missing), f"annotate: {len(missing)} of {len(jobs)} shards"):
            pass
    counts = _counts(work)
    for marker in work.glob("shard-*.json"):
        marker.unlink()
    commit_directory(work, workspace.annotated, {
        "schema": "iqaflow.annotated/1", "pipeline_version": __version__, "seed": config.seed,
        "source": found.kind, "photographs": {split: len(found.of(split)) for split in SPLITS}, "counts": counts,
    })
    result = StageResult(
        "annotate",
        metrics={f"images_{split}": float(counts["images"][split]) for split in SPLITS}
        | {"conversations": float(sum(counts["conversations"].values())), "quarantined": float(len(found.quarantine))},
        markdown=_markdown(found, counts),
        details={"counts": counts, "quarantine": found.quarantine[:100]},
    )
    result.save(workspace)
    return result


def _jobs(config: Config) -> list[tuple[str, str, range]]:
    """Shard name, split and unit numbers of every shard."""
    from iqaflow.annotate.synthetic import units

    per_shard = max(config.annotate.shard_images // 2, 1)
    jobs = []
    for split in SPLITS:
        total = units(getattr(config.annotate.images, split))
        for start in range(0, total, per_shard):
            jobs.append((f"{len(jobs):05d}", split, range(start, min(start + per_shard, total))))
    return jobs


def _shard(work: Path, job: tuple[str, str, range], config: Config, found: sources.Index, workspace: Workspace) -> str:
    import cv2

    from iqaflow.annotate.synthetic import make_unit

    cv2.setNumThreads(1)  # workers share the cores
    name, split, numbers = job

    @lru_cache(maxsize=2)
    def pixels(source_id: str) -> Any:
        return sources.load(next(p for p in found.photographs if p.source_id == source_id), config.source, workspace)

    images: list[dict[str, Any]] = []
    conversations: list[dict[str, Any]] = []
    photographs = found.of(split)
    for unit in numbers:
        made, asked = make_unit(unit, split, config.annotate, config.seed, photographs, lambda p: pixels(p.source_id))
        images += made
        conversations += asked
    files = {}
    for table, rows, schema in (("images", images, tables.images_schema()),
                                ("conversations", conversations, tables.conversations_schema())):
        path = work / table / f"part-{name}.parquet"
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        tables.write_table(beside, rows, schema)
        os.replace(beside, path)
        files[f"{table}/{path.name}"] = sha256(path)
    counts = {"split": split, "images": len(images), "tasks": dict(Counter(row["task"] for row in conversations))}
    write_json(work / f"shard-{name}.json", {"files": files, **counts})  # last: a shard without it does not exist
    return name


def _done(work: Path, name: str) -> bool:
    marker = work / f"shard-{name}.json"
    if not marker.is_file():
        return False
    files = json.loads(marker.read_text())["files"]
    return all((work / file).is_file() and sha256(work / file) == digest for file, digest in files.items())


def _counts(work: Path) -> dict[str, Any]:
    images: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for marker in sorted(work.glob("shard-*.json")):
        entry = json.loads(marker.read_text())
        images[entry["split"]] += entry["images"]
        asked.update(entry["tasks"])
    return {"images": {split: images[split] for split in SPLITS}, "conversations": dict(sorted(asked.items()))}


def _key(config: Config, found: sources.Index) -> str:
    """What the shards depend on: parameters, photographs and the code that makes them."""
    digest = hashlib.sha256()
    tree = config.tree()
    digest.update(json.dumps([config.seed, tree["annotate"], found.model_dump()["photographs"]], sort_keys=True).encode())
    package = Path(__file__).parents[1]
    for folder in CODE:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _workers(config: Config) -> int:
    from iqaflow.ops.cores import free_cores

    if config.resources.engine == "sequential":
        return 1
    return free_cores() if config.resources.workers == "auto" else int(config.resources.workers)


def _markdown(found: sources.Index, counts: dict[str, Any]) -> str:
    rows = "\n".join(f"| {split} | {len(found.of(split))} | {counts['images'][split]} |" for split in SPLITS)
    asked = ", ".join(f"{task} {number}" for task, number in counts["conversations"].items())
    left_out = "".join(f"\n- `{entry['file']}`: {entry['reason']}" for entry in found.quarantine[:20])
    return (
        f"## annotate\n\n| split | photographs | images |\n|---|---|---|\n{rows}\n\nQuestions: {asked}.\n"
        + (f"\n{len(found.quarantine)} files left out:{left_out}\n" if found.quarantine else "")
    )



"""Make the small base that ships: annotate many photographs, train from scratch with the dense read-out, measure, release.

    iqaflow base --set source.path=PHOTOGRAPHS          (hours of CPU; a killed run continues)

It is an ordinary run of the stages with the preset `base`, in a workspace of its own, `.iqaflow/base`; remove that folder
to start anew with the same parameters.
"""

from __future__ import annotations

import importlib
import json
import shutil

from iqaflow.core.config import Config
from iqaflow.core.files import write_json
from iqaflow.core.manifest import commit_directory, read_manifest
from iqaflow.core.workspace import STAGES, StageResult, Workspace
from iqaflow.tasks import vocabulary

LIMIT_BYTES = 15_000_000
HEADLINES = (
    ("identify.accuracy_single_nr", "identification, one distortion or none, no reference"),
    ("identify.accuracy_single_fr", "the same with the reference"),
    ("identify.false_alarm", "clean images called distorted"),
    ("identify.accuracy_two_nr", "identification, two distortions (set credit)"),
    ("rate.accuracy", "better image of a pair"),
    ("score.srcc", "score against the synthetic score, SRCC"),
    ("refer.accuracy", "what is wrong with a given region (set credit)"),
    ("ground.hit_rate", "pointing inside the region"),
    ("ground.miou", "mask of the region, mIoU"),
)


def run(config: Config, workspace: Workspace) -> StageResult:
    """Write `models/base-tiny` (safetensors, tokenizer, processor, card, manifest). Raises StageError where a stage does."""
    inner = Workspace(workspace.state / "base")
    begin(config, inner)
    for name in STAGES:
        if StageResult.read(inner, name) is None:
            importlib.import_module(f"iqaflow.{name}.stage").run(config, inner)
    return release(config, inner, workspace)


def begin(config: Config, inner: Workspace) -> None:
    """Stages that are done stay done, unless they were done with other parameters."""
    tree = {name: section for name, section in config.tree().items() if name not in ("resources", "track")}
    parameters = inner.root / "asked.json"
    if not parameters.is_file() or json.loads(parameters.read_text(encoding="utf-8")) != json.loads(json.dumps(tree)):
        shutil.rmtree(inner.reports / "stages", ignore_errors=True)
        write_json(parameters, tree)


def release(config: Config, inner: Workspace, workspace: Workspace, note: str = "") -> StageResult:
    """Copy the finished model of `inner` to `models/base-tiny` of `workspace`, with a card of what it is and can do; `note` says
    where the weights differ from the recipe, if they do.
    """
    from iqaflow.core.errors import StageError

    manifest = read_manifest(inner.stage1, verify=True)
    size = sum(entry["size"] for entry in manifest["files"].values())
    if size > LIMIT_BYTES:
        raise StageError(f"The base has {size} bytes, above the {LIMIT_BYTES} that may ship: make it smaller.")
    final = workspace.root / "models" / "base-tiny"
    work = final.with_name(".base-tiny")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(inner.stage1, work, ignore=shutil.ignore_patterns("manifest.json", "README.md"))
    (work / "README.md").write_text(card(config, inner, note), encoding="utf-8")
    commit_directory(
        work,
        final,
        {
            "schema": "iqaflow.model/1",
            "base": "scratch",
            "steps": manifest["steps"],
            vocabulary.KEY: vocabulary.of(manifest).tree(),
        },
    )
    return StageResult("base", metrics={"bytes": float(size)}, markdown=card(config, inner, note))


def card(config: Config, inner: Workspace, note: str = "") -> str:
    """The base's model card: data, recipe, metrics with intervals, limits."""
    results = json.loads(inner.metrics.read_text(encoding="utf-8"))
    data = read_manifest(inner.annotated)
    steps = read_manifest(inner.stage1)["steps"]
    train = config.train
    sides = sorted(side for size in config.annotate.sizes_px for side in size)
    views = f"{sides[0]} to {sides[-1]} px"
    rows = []
    for key, what in HEADLINES:
        family, metric = key.split(".")
        entry = results["model"].get(family, {}).get(metric)
        if entry:
            rows.append(f"| {what} | {entry['value']:.3f} | {entry['ci95'][0]:.3f} to {entry['ci95'][1]:.3f} | {entry['n']} |")
    return f"""---
library_name: transformers
pipeline_tag: image-text-to-text
tags: [image-quality-assessment, iqaflow]
---
# iqaflow base-tiny

A very small vision-language model of the Qwen3-VL class that already sees image quality, made from scratch by `make base`.
It is what the default run fine-tunes; it is not a general model: its language is the answer grammar of iqaflow.

## Data
{data["photographs"]["train"]} photographs for training, {data["photographs"]["test"]} others for the figures below
({config.source.license}).
{data["counts"]["images"]["train"]} annotated views of {views}, 35 distortions at 5 levels, one or two at a time, on the
whole image or inside superpixel regions, {config.annotate.clean:.0%} clean, block grids at random offsets.

## Recipe
Vision: two blocks, width 128, 8-px patches merged 2x2, eleven low-level channels (see `iqaflow.model.processor`). Language:
three blocks, width 128, own vocabulary with byte fallback. {steps} steps of {train.micro_batch * train.micro_batches} packs,
up to {train.questions} questions each; the first {train.vision_images} images train the vision part alone on the dense read-out
of visual tokens; AdamW, lr {train.lr}, linear decay over the last {train.decay:.0%}; fp32, one CPU thread, seed {config.seed}.
{note}

## Measured on {results["items"]["images"]} images of {results["items"]["photographs"]} photographs it never saw
Synthetic distortions; 95 % bootstrap intervals over items; calibrated on the calibration split.

| | value | 95 % interval | n |
|---|---|---|---|
{chr(10).join(rows)}

## Limits
Synthetic distortions only; views of {views}; superpixel regions; one seed. It knows colours and positions, not objects.
"""

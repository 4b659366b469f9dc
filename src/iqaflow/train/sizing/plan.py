"""What a training run will take, before it starts: parameters, memory, tokens, steps, time.

    iqaflow plan [--preset qwen3-vl-4b] [--trial] [--json]

Nothing is guessed: what cannot be computed or measured is said to be unknown. Memory is explained in `train.sizing.footprint`.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import Any

from iqaflow.core.config import Config
from iqaflow.core.config.schema import Train
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.train import student
from iqaflow.train.sizing import samples
from iqaflow.train.sizing.footprint import Load, Memory, memory, parameters, skeleton

TRIAL_STEPS = 6  # of which the first warms up


@dataclass(frozen=True)
class Plan:
    """A run in numbers. `rate` is in packs per second, None if nobody measured it; `..._from` say where values come from."""

    base: str
    kind: str
    parameters: int
    trained: int
    tuning: str
    ranks: int
    packed: bool
    memory: Memory
    load: Load
    tokens_from: str
    packs: int
    packs_from: str
    steps: int
    packs_per_step: int
    rate: float | None
    rate_from: str

    @property
    def seconds(self) -> float | None:
        return None if self.rate is None else self.steps * self.packs_per_step / self.rate


def run(config: Config, workspace: Workspace, as_json: bool = False, trial: bool = False) -> int:
    """Print the plan as a table, or as JSON."""
    planned = plan(config, workspace, trial)
    if as_json:
        print(
            json.dumps(
                {
                    **asdict(planned),
                    "memory": {**asdict(planned.memory), "total": planned.memory.total},
                    "seconds": planned.seconds,
                },
                indent=1,
            )
        )
    else:
        _print(planned, config)
    return 0


def plan(config: Config, workspace: Workspace, trial: bool = False) -> Plan:
    """The plan of `config` in a workspace; `trial` times a few real steps on this machine if no run was measured here.
    Raises StageError if the base's config, tokenizer or image processor is not at hand.
    """
    from iqaflow.model.packing import packer_for
    from iqaflow.train.ranks import launch

    train = config.train
    model, processor = _base(config, workspace)
    total, trained = parameters(model)
    packer = packer_for(model, processor)
    have = (workspace.annotated / "manifest.json").is_file()
    packs, source = samples.annotated(config, workspace, packer) if have else samples.templates(config, packer)
    load = samples.load(packs, packer)
    count = source[1]
    ranks = launch.ranks(config) * config.resources.nodes
    rate, rate_from = measured(config, workspace)
    if rate is None and trial:
        rate, rate_from = timed(config, workspace), f"{TRIAL_STEPS - 1} steps timed on this machine"
    return Plan(
        base=train.base,
        kind=model.config.model_type,
        parameters=total,
        trained=trained,
        tuning=train.tuning,
        ranks=ranks,
        packed=not packer.alone,
        load=load,
        tokens_from=source[0],
        packs=count,
        packs_from="data/annotated" if have else "about: annotate.images, annotate.reference and annotate.pairs",
        memory=memory(model.config, total, trained, train, ranks, load),
        steps=steps(train, count, load),
        packs_per_step=round(_per_step(train, load)),
        rate=rate,
        rate_from=rate_from,
    )


def steps(train: Train, packs: int, load: Load) -> int:
    """Optimizer steps of a run over so many packs; under a token budget an estimate from their mean length."""
    by_epochs = max(1, round(train.epochs * packs / _per_step(train, load)))
    return min(by_epochs, train.max_steps or by_epochs)


def _per_step(train: Train, load: Load) -> float:
    packs = max(1.0, train.tokens / load.tokens) if train.tokens else train.micro_batch
    return packs * train.micro_batches


def measured(config: Config, workspace: Workspace) -> tuple[float | None, str]:
    """Packs per second of the last run of the same base in this workspace, and where that comes from."""
    last, manifest = StageResult.read(workspace, "train"), workspace.stage1 / "manifest.json"
    if last is None or not manifest.is_file():
        return None, "unknown: run with --trial"
    base = json.loads(manifest.read_text(encoding="utf-8")).get("base")
    if base != config.train.base or "samples_per_second" not in last.metrics:
        return None, "unknown: run with --trial"
    return last.metrics["samples_per_second"], "the last run of this base here"


def timed(config: Config, workspace: Workspace) -> float:
    """Packs per second of a few real steps by the real ranks, thrown away afterwards. Raises StageError without data."""
    from iqaflow.train.ranks import launch
    from iqaflow.train.step_log import rows as logged

    if not (workspace.annotated / "manifest.json").is_file():
        raise StageError(f"--trial trains on {workspace.annotated}, which is not there: run `iqaflow annotate` first.")
    short = config.model_copy(
        update={
            "train": config.train.model_copy(update={"max_steps": TRIAL_STEPS, "checkpoint_steps": TRIAL_STEPS + 1}),
            "track": config.track.model_copy(update={"probes": 0}),
        }
    )
    work = workspace.scratch("plan") / "trial"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        launch.train(short, workspace, work)
        rows = logged(work / "steps.jsonl")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return float(len(rows[1:]) / sum(1.0 / row["samples_per_second"] for row in rows[1:]))


def _base(config: Config, workspace: Workspace) -> tuple[Any, Any]:
    """The model without weights, and its processor. A tiny base whose vocabulary the data decide is built: it is small."""
    from transformers import AutoConfig

    from iqaflow.model import base, tiny

    train = config.train
    folder = workspace.root / train.base
    where = folder if folder.is_dir() else train.base
    if train.base == "scratch" or train.vocabulary == "data":
        if not (workspace.annotated / "manifest.json").is_file():
            raise StageError("The vocabulary of this base comes from data/annotated, which is not there: run `iqaflow annotate`.")
        from iqaflow.data.tables import read_rows

        texts = [
            turn["text"] for row in read_rows(workspace.annotated, "conversations", "train", ["turns"]) for turn in row["turns"]
        ]
        if train.base == "scratch":
            model, processor = tiny.build(texts, config.seed, train.min_pixels, train.max_pixels)
        else:
            model, processor = tiny.grow(*base.load(where, train), texts)
        return student.tuned(model, train), processor
    revision = None if folder.is_dir() else train.revision
    if not folder.is_dir() and (revision is None or len(revision) != 40):
        raise StageError(f"The base {train.base} is not a local folder, and a hub id needs train.revision (40 hex digits).")
    try:
        base_config = AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)
        return skeleton(base_config, train), base.load_processor(where, train, revision, base_config)
    except (OSError, ValueError, KeyError) as error:
        raise StageError(
            f"The config of {train.base} is not at hand ({str(error).splitlines()[0]}): put the base into a folder "
            "and set train.base to it, or let the hub be reached once."
        ) from None


def _print(planned: Plan, config: Config) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    train, use = config.train, planned.memory
    table = Table("what", "value", "from", box=box.SIMPLE)
    packing = "" if planned.packed else " (one question per row: this base cannot pack)"
    eta = "unknown" if planned.seconds is None else _clock(planned.seconds)
    load = planned.load
    rows = (
        ("base", f"{planned.base} ({planned.kind})", ""),
        ("parameters", f"{planned.parameters:,}", "config"),
        ("trained", f"{planned.trained:,} ({planned.trained / planned.parameters:.1%})", f"train.tuning {planned.tuning}"),
        (
            "memory per rank",
            _bytes(use.total),
            f"{planned.ranks} rank{'s' * (planned.ranks > 1)}, ZeRO-{train.zero_stage}, {train.precision}",
        ),
        ("  weights", _bytes(use.weights), ""),
        ("  gradients", _bytes(use.gradients), ""),
        ("  optimizer", _bytes(use.optimizer), f"and {_bytes(use.host)} of host memory" if use.host else ""),
        (
            "  activations",
            _bytes(use.activations),
            f"estimate; micro-batch of {train.micro_batch} packs" + (", checkpointing" if train.gradient_checkpointing else ""),
        ),
        ("  buffers", _bytes(use.buffers), "DeepSpeed's gradient bucket"),
        ("tokens per pack", f"{load.tokens:.0f}, at most {load.tokens_most}", planned.tokens_from + packing),
        ("  image", f"{load.image_tokens:.0f}", ""),
        ("  questions", f"{load.question_tokens:.0f}", f"{load.questions:.1f} questions"),
        ("  answers", f"{load.answer_tokens:.0f}", ""),
        ("packs", f"{planned.packs:,}", planned.packs_from),
        ("steps", f"{planned.steps:,}", f"{train.epochs:g} epochs, {planned.packs_per_step} packs a step"),
        ("packs a second", "unknown" if planned.rate is None else f"{planned.rate:.2f}", planned.rate_from),
        ("time", eta, "" if planned.seconds is None else "steps / speed; checkpoints and probes come on top"),
    )
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**28 else f"{count / 2**20:.1f} MiB"


def _clock(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"

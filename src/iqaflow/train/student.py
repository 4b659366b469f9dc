"""The model that learns: a base, grown, frozen or with adapters as configured; how it is saved, and its card."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from iqaflow.core.config import Config
from iqaflow.core.config.schema import Train
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace

# what `train.frozen` names, by how the model classes of transformers call it
PARTS = {
    "projector": ("merger", "deepstack_merger_list", "multi_modal_projector", "connector"),  # inside the vision part, so first
    "vision": ("visual", "vision_tower", "vision_model"),
    "language": ("language_model", "lm_head"),
}


def load(config: Config, workspace: Workspace) -> tuple[Any, Any]:
    """Model and processor, ready to be trained; a tiny base grows the words of categories added since it was made. Raises
    StageError where the base or what is to be frozen is absent.
    """
    from iqaflow.model import base, tiny

    train = config.train
    if train.base == "scratch":
        model, processor = tiny.build(_texts(workspace), config.seed, train.min_pixels, train.max_pixels)
    else:
        where = workspace.root / train.base
        model, processor = base.load(where if where.is_dir() else train.base, train)
        if train.vocabulary == "data":
            model, processor = tiny.grow(model, processor, _texts(workspace))
        elif tiny.lacks_words(model, processor):
            model, processor = tiny.grow(model, processor, [])
    if train.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return tuned(model, train), processor


def tuned(model: Any, train: Train) -> Any:
    """`model` with gradients for the parameters that are trained: all or those of adapters, without the frozen parts."""
    if train.tuning == "lora":
        from peft import inject_adapter_in_model

        model.requires_grad_(False)
        inject_adapter_in_model(_lora(train), model)
    freeze(model, train)
    return model


def freeze(model: Any, train: Train) -> None:
    """Switch off the gradients of the parts named in `train.frozen`; the projector of a vision tower is a part of its own."""
    for part in train.frozen:
        frozen = 0
        for name, weights in model.named_parameters():
            if part_of(name) == part:
                weights.requires_grad_(False)
                frozen += 1
        if not frozen:
            raise StageError(f"train.frozen names {part}, but {type(model).__name__} has no such part.")
    if not any(weights.requires_grad for weights in model.parameters()):
        raise StageError(f"train.frozen={list(train.frozen)} leaves nothing to train.")


def part_of(name: str) -> str | None:
    """The part of the model that a parameter belongs to: vision, projector or language."""
    words = name.split(".")
    return next((part for part, names in PARTS.items() if set(names) & set(words)), None)


def _lora(train: Train) -> Any:
    from peft import LoraConfig

    # modules of these names inside a vision tower (CLIP has a q_proj, too) stay as they are
    towers = rf"(.*\.)?({'|'.join((*PARTS['vision'], *PARTS['projector']))})\..*"
    return LoraConfig(
        r=train.lora_rank,
        lora_alpha=2 * train.lora_rank,
        target_modules=list(train.lora_targets),
        exclude_modules=towers,
        base_model_name_or_path=train.base,
        revision=train.revision,
    )


def _texts(workspace: Workspace) -> list[str]:
    from iqaflow.data.tables import read_rows

    return [turn["text"] for row in read_rows(workspace.annotated, "conversations", "train", ["turns"]) for turn in row["turns"]]


def gathered(model: Any, zero_stage: int) -> dict[str, Any]:
    """All weights by name on every rank's host; ZeRO stage 3 keeps only a part of each on a rank."""
    if zero_stage < 3:
        return dict(model.state_dict())
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(model.parameters()), modifier_rank=0):
        return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def save(model: Any, processor: Any, state: dict[str, Any], train: Train, folder: Path) -> None:
    """Hugging Face layout. With adapters, the weights have them merged in, and `adapter/` holds them alone as peft reads them."""
    from iqaflow.model import base

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if train.tuning == "full" and train.zero_stage < 3:
        base.save(model, processor, folder)
        return
    if train.tuning == "lora":
        _save_adapter(model, state, train, folder / "adapter")
        state = _merged(model, state)
    model.save_pretrained(folder, safe_serialization=True, state_dict=state)
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644) if path.is_file() else None


def _save_adapter(model: Any, state: dict[str, Any], train: Train, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    lora = _lora(train)
    lora.inference_mode = True
    lora.save_pretrained(folder)
    weights = {
        f"base_model.model.{name.replace('.default.weight', '.weight')}": value.contiguous()
        for name, value in state.items()
        if ".lora_" in name
    }
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _merged(model: Any, state: dict[str, Any]) -> dict[str, Any]:
    """The state without adapters: `W + B A alpha / r` where there was one."""
    from peft.tuners.lora import LoraLayer

    merged = {name.replace(".base_layer", ""): value for name, value in state.items() if ".lora_" not in name}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            down, up = (state[f"{name}.lora_{side}.default.weight"] for side in "AB")
            weight = merged[f"{name}.weight"]
            merged[f"{name}.weight"] = weight + ((up.float() @ down.float()) * module.scaling["default"]).to(weight.dtype)
    return merged


def card(config: Config, steps: int, loss: float) -> str:
    """The card of the model: what it is, made from what, for what. It names no date and no host: the same inputs give the same
    bytes.
    """
    train = config.train
    final = f"{loss:.4f}" if math.isfinite(loss) else "not finite"
    return f"""---
library_name: transformers
pipeline_tag: image-text-to-text
base_model: {train.base}
tags: [image-quality-assessment, iqaflow]
---
# iqaflow stage one

A vision-language model fine-tuned to explain image quality: it identifies distortions, rates pairs, scores, describes, points
to the worst region and answers about a given one. Trained on synthetic distortions of `{config.source.kind}` photographs.

| | |
|---|---|
| base | `{train.base}` |
| tuning | {train.tuning}, {train.precision}, DeepSpeed ZeRO-{train.zero_stage} |
| images | {config.annotate.images.train} annotated views |
| optimizer steps | {steps} of {train.micro_batch * train.micro_batches} packs, up to {train.questions} questions each |
| learning rate | {train.lr}, {train.warmup} warm-up steps, linear decay over the last {train.decay:.0%} |
| final training loss | {final} |
| seed | {config.seed} |

Load the weights with `AutoModelForImageTextToText.from_pretrained`. Benchmark values with intervals are kept with the run.
Limits: flaws of real cameras that none of the distortions resembles were never seen; confidence is calibrated on synthetic
flaws only.
"""

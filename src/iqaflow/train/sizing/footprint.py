"""What a base holds in memory while it trains, from its config alone: no weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iqaflow.core.config.schema import Train
from iqaflow.train import student

BUCKET = 500_000_000  # DeepSpeed's reduce_bucket_size


@dataclass(frozen=True)
class Load:
    """What one pack brings to a step, on average, and `..._most` the most: image (visual), question and answer tokens, patches
    of the vision tower, and the length of its row (all its rows together, where the base cannot pack).
    """

    image_tokens: float
    question_tokens: float
    answer_tokens: float
    questions: float
    tokens: float
    patches_most: int
    row_most: int
    tokens_most: int
    answers_most: int


@dataclass(frozen=True)
class Memory:
    """Bytes per rank. `host` is what offloading moves out of the accelerator."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    buffers: int = 0
    host: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.buffers


def skeleton(config: Any, train: Train) -> Any:
    """The model of a config with its adapters, if any, on the meta device: shapes without memory."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
        return student.tuned(model, train)


def parameters(model: Any) -> tuple[int, int]:
    """All parameters of a model, tied ones once and adapters included, and the trained ones."""
    return (
        sum(weight.numel() for weight in model.parameters()),
        sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
    )


def memory(config: Any, total: int, trained: int, train: Train, ranks: int, load: Load) -> Memory:
    """Bytes per rank of a model of `total` parameters, `trained` of which learn, with N ranks, b bytes per number (bf16 2,
    fp32 4) and ZeRO stage z (Rajbhandari et al. 2020, section 3).

    weights     b total, / N from z = 3
    gradients   b trained, / N from z = 2
    optimizer   AdamW, two moments in fp32: 8 trained; DeepSpeed's fp32 copy of the weights, in bf16 or from z = 1: 4 trained
                more; / N from z = 1; with offloading in host memory
    activations see `activations`
    buffers     DeepSpeed's gradient bucket from z = 1: 500 million numbers whatever the model

    What the allocator and the libraries hold is not counted.
    """
    size = 2 if train.precision == "bf16" else 4
    stage = train.zero_stage
    optimizer = (12 if size == 2 or stage >= 1 else 8) * trained // (ranks if stage >= 1 else 1)
    gradients = size * trained // (ranks if stage >= 2 else 1)
    return Memory(
        weights=size * total // (ranks if stage >= 3 else 1),
        gradients=gradients,
        optimizer=0 if train.offload else optimizer,
        host=optimizer if train.offload else 0,
        activations=activations(config, train, load),
        buffers=size * BUCKET if stage >= 1 else 0,
    )


def activations(config: Any, train: Train, load: Load) -> int:
    """Bytes that the backward pass of a micro-batch needs, an estimate for attention that keeps no matrix of scores.

    A block keeps per token 7 h + 4 i + 4 q numbers (two norms, the gated feed-forward of width i, queries to output of q), a
    block of the vision tower 15 h + 2 i (its rotary positions are computed in fp32). With gradient checkpointing every block
    keeps only its input, h, and one block at a time is computed again. To this the mask (S x S) and three tables of answer
    tokens x vocabulary in fp32 (scores, log-probabilities, their gradient) are added.
    """
    text, tower = config.get_text_config(), config.vision_config
    size = 2 if train.precision == "bf16" else 4
    heads = text.num_attention_heads
    queries = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
    block = 7 * text.hidden_size + 4 * text.intermediate_size + 4 * queries
    width = tower.hidden_size
    vision = 15 * width + 2 * first(tower, "intermediate_size", "mlp_dim", default=4 * width)
    depths = text.num_hidden_layers, first(tower, "depth", "num_hidden_layers")
    kept = []
    for per_token, hidden, depth in ((block, text.hidden_size, depths[0]), (vision, width, depths[1])):
        kept.append(depth * hidden + per_token if train.gradient_checkpointing else depth * per_token)
    packs = train.micro_batch
    rows = load.row_most**2 * max(1, round(load.tokens_most / load.row_most))
    answers = 3 * 4 * load.answers_most * text.vocab_size
    return packs * (size * (kept[0] * load.tokens_most + kept[1] * load.patches_most + rows) + answers)


def first(config: Any, *names: str, default: int | None = None) -> int:
    """The first of these entries that a config has; configs name the same thing in different ways. Raises ValueError."""
    for name in names:
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    if default is None:
        raise ValueError(f"the vision tower's config has none of {', '.join(names)}")
    return default

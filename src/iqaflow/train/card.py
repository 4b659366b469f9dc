"""Model cards: what a checkpoint is, made from what, for what."""

from __future__ import annotations

import math

from iqaflow.core.config import Config


def stage_one(config: Config, steps: int, loss: float) -> str:
    """The card of a stage-one model. It names no date and no host: the same inputs give the same bytes."""
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

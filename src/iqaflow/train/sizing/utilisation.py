"""Model FLOPs of a step, and their share of what the GPU could do: MFU (Chowdhery et al. 2022, PaLM, appendix B).

Counted is what the mathematics asks for: every weight used by a token twice in the forward pass, twice more where its
gradient and twice more where the gradient of its input is needed, and the two products of attention over the whole row.
What gradient checkpointing computes again does not count, nor does padding.
"""

from __future__ import annotations

import re
from typing import Any

from iqaflow.train.sizing.footprint import first
from iqaflow.train.student import part_of

# bf16 without sparsity, TFLOP/s, from NVIDIA's data sheets; the first that the device's name has among its words counts
PEAK = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L40": 181,
    "A10G": 70,
    "A10": 125,
    "L4": 121,
}


APART = ("lm_head", "embed_tokens", "pos_embed", "position_embedding")  # counted by itself, or looked up


def peak(device: str) -> float | None:
    """FLOP/s in bf16 of a GPU by its name; None for one that is not listed."""
    return next((tera * 1e12 for name, tera in PEAK.items() if re.search(rf"\b{name}\b", device)), None)


class Flops:
    """What one batch costs a whole model with its trained and frozen parts; of a mixture of experts all count."""

    def __init__(self, model: Any) -> None:
        self.config = model.config
        self.weights = dict.fromkeys(("vision", "projector", "language"), 0)
        learnt = dict.fromkeys(self.weights, 0)
        for name, weight in model.named_parameters():
            place = part_of(name)
            if place is None or weight.ndim < 2 or any(word in name for word in APART):
                continue
            self.weights[place] += weight.numel()
            learnt[place] += weight.numel() * weight.requires_grad
        head = model.get_output_embeddings().weight
        self.weights["head"], learnt["head"] = head.numel(), head.numel() * head.requires_grad
        self.factors: dict[str, float] = {}
        behind = False
        for place, total in self.weights.items():
            trained = learnt[place] / total if total else 0.0
            behind = behind or trained > 0
            self.factors[place] = 2 + 2 * behind + 2 * trained

    def of(self, batch: dict[str, Any]) -> float:
        """FLOPs of the forward and backward pass of a batch as `packing.Packer.collate` gives it."""
        text, tower = self.config.get_text_config(), self.config.vision_config
        images = batch["tokens"].double()
        pixels = batch["pixel_values"]
        size = first(tower, "patch_size")
        size = size[0] if isinstance(size, (list, tuple)) else size
        patches = images / images.sum() * (len(pixels) if pixels.ndim == 2 else pixels.numel() / (3 * size * size))
        rows = (batch["segments"] >= 0).sum(1).double()
        heads = text.num_attention_heads
        queries = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
        count = {"vision": patches.sum(), "projector": images.sum(), "language": rows.sum(), "head": len(batch["at"])}
        scores = {
            "vision": 4 * first(tower, "depth", "num_hidden_layers") * tower.hidden_size * (patches**2).sum(),
            "language": 4 * text.num_hidden_layers * queries * (rows**2).sum(),
        }
        return float(
            sum(self.factors[place] * self.weights[place] * number for place, number in count.items())
            + sum((3 if self.factors[place] > 2 else 1) * number for place, number in scores.items())
        )


class Meter:
    """Adds up a step's FLOPs on this rank; silent where the peak of the device is not known: on CPUs, and in fp32."""

    def __init__(self, model: Any, device: Any, precision: str) -> None:
        import torch

        known = device.type == "cuda" and precision == "bf16"
        self.peak = peak(torch.cuda.get_device_name(device)) if known else None
        self.flops = Flops(model) if self.peak else None
        self.counted = 0.0

    def add(self, batch: dict[str, Any]) -> None:
        """Count a micro-batch, still on the host."""
        if self.flops:
            self.counted += self.flops.of(batch)

    def read(self, seconds: float) -> dict[str, float]:
        """`mfu` of the micro-batches since the last reading, which took so long; nothing where it is not known."""
        counted, self.counted = self.counted, 0.0
        return {"mfu": counted / seconds / self.peak} if self.peak else {}

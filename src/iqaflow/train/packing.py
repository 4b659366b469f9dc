"""Packing: the images of a pack are encoded once, and all its questions branch from them, hidden from each other.

A pack is `prefix (images) + branch 1 + branch 2 + ...` with a tree attention mask and positions that restart at the end
of the prefix, so that every branch sees exactly what it would see alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from iqaflow.model.prompt import Layout, layout
from iqaflow.tasks import grammar


@dataclass(frozen=True)
class Branch:
    """A question and its answer as token ids with a loss weight each. `soft` maps a place in the answer to a distribution
    over vocabulary ids (ids, probabilities) that replaces the one token written there; `task` is its place in `tables.TASKS`."""

    prompt: Sequence[int]
    answer: Sequence[int] = ()
    weights: Sequence[float] = ()
    soft: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    task: int = -1


@dataclass(frozen=True)
class Pack:
    """`images` uint8 RGB (H, W, 3) in the order of `roles`, and the branches asked of them."""

    images: Sequence[np.ndarray]
    roles: Sequence[str]
    branches: Sequence[Branch]


class Packer:
    """Turns packs into tensors for one model family, given its processor and its rotary positions."""

    def __init__(self, processor: Any, rope_index: Any = None) -> None:
        self.processor, self.rope_index = processor, rope_index
        self._layouts: dict[tuple[str, ...], Layout] = {}

    def layout(self, roles: Sequence[str]) -> Layout:
        key = tuple(roles)
        if key not in self._layouts:
            self._layouts[key] = layout(self.processor, key)
        return self._layouts[key]

    def ids(self, text: str) -> list[int]:
        return self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def branch(self, roles: Sequence[str], question: str, answer: str | None = None) -> Branch:
        """Token ids of a question and, for training, its answer with the end marker."""
        parts = self.layout(roles)
        prompt = self.ids(f"{parts.lead}{question}{parts.close}")
        if answer is None:
            return Branch(prompt)
        coded = self.processor.tokenizer(f"{answer}{parts.end}", add_special_tokens=False, return_offsets_mapping=True)
        return Branch(prompt, coded["input_ids"], _weights(answer, coded["offset_mapping"]))

    def collate(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """Tensors for a batch of packs of B rows and S columns:

        `input_ids` (B, S), `position_ids` (3, B, S) or (B, S), `attention_mask` (B, 1, S, S) additive, `pixel_values`,
        `image_grid_thw`; `at` (N, 2) the row and column whose output predicts each answer token, `labels` (N,),
        `weights` (N,) of their losses, `tasks` (N,) of their questions; `soft_rows`, `soft_ids`, `soft_probs` for soft
        answer tokens; `ends` (rows, last prompt column) of every branch in order; `segments` (B, S): 0 prefix, n branch,
        -1 padding; `next_position` (B,) of a branch's first token.
        """
        import torch

        images = [image for pack in packs for image in pack.images]
        pixels = self.processor.image_processor(images, return_tensors="pt")
        grids = iter(pixels["image_grid_thw"])
        merge = self.processor.image_processor.merge_size**2
        rows = [self._row(pack, [next(grids) for _ in pack.images], merge) for pack in packs]
        width = max(len(row["ids"]) for row in rows)
        pad = self.processor.tokenizer.pad_token_id
        ids = torch.full((len(rows), width), pad)
        segments = torch.full((len(rows), width), -1)
        positions = torch.zeros((3, len(rows), width), dtype=torch.long)
        at, labels, weights, tasks, ends, soft = [], [], [], [], [], []
        for number, row in enumerate(rows):
            length = len(row["ids"])
            ids[number, :length] = torch.tensor(row["ids"])
            segments[number, :length] = torch.tensor(row["segments"])
            positions[:, number, :length] = row["positions"]
            for column, label, weight, task, distribution in row["answers"]:
                if distribution is not None:
                    soft.append((len(at), *distribution))
                at.append((number, column))
                labels.append(label)
                weights.append(weight)
                tasks.append(task)
            ends += [(number, column) for column in row["ends"]]
        causal = torch.ones(width, width, dtype=torch.bool).tril()
        keys, queries = segments[:, None, :], segments[:, :, None]
        allowed = causal & (keys >= 0) & ((keys == 0) | (keys == queries))
        allowed |= torch.eye(width, dtype=torch.bool)  # padding looks at itself: a row of no keys would be NaN
        mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
        batch = {
            "input_ids": ids, "position_ids": positions if self.rope_index else positions[0],
            "attention_mask": mask[:, None], "pixel_values": pixels["pixel_values"],
            "image_grid_thw": pixels["image_grid_thw"],
            "at": torch.tensor(at).reshape(-1, 2), "labels": torch.tensor(labels), "weights": torch.tensor(weights),
            "tasks": torch.tensor(tasks),
            "ends": torch.tensor(ends).reshape(-1, 2), "segments": segments,
            "next_position": torch.tensor([row["start"] for row in rows]),
        }
        if soft:
            batch["soft_rows"] = torch.tensor([row for row, _, _ in soft])
            wide = max(len(ids) for _, ids, _ in soft)
            batch["soft_ids"] = torch.tensor(np.stack([np.pad(ids, (0, wide - len(ids))) for _, ids, _ in soft]))
            batch["soft_probs"] = torch.tensor(np.stack([np.pad(p, (0, wide - len(p))) for _, _, p in soft])).float()
        return batch

    def _row(self, pack: Pack, grids: list[Any], merge: int) -> dict[str, Any]:
        import torch

        parts = self.layout(pack.roles)
        image = self.processor.image_token
        pieces = parts.prefix.split(image)
        text = pieces[0] + "".join(
            image * (int(grid.prod()) // merge) + piece for grid, piece in zip(grids, pieces[1:], strict=True)
        )
        ids = self.ids(text)
        positions = self._positions(ids, grids)
        start = int(positions.max()) + 1
        segments, answers, ends, chunks = [0] * len(ids), [], [], [positions]
        for number, branch in enumerate(pack.branches, 1):
            whole = [*branch.prompt, *branch.answer]
            last = len(ids) + len(branch.prompt) - 1
            ends.append(last)
            answers += [(last + step, label, weight, branch.task, branch.soft.get(step))
                        for step, (label, weight) in enumerate(zip(branch.answer, branch.weights, strict=True))]
            chunks.append(torch.arange(start, start + len(whole)).expand(3, -1))
            ids = [*ids, *whole]
            segments += [number] * len(whole)
        return {"ids": ids, "segments": segments, "positions": torch.cat(chunks, 1), "answers": answers,
                "ends": ends, "start": start}

    def _positions(self, ids: list[int], grids: list[Any]) -> Any:
        import torch

        row = torch.tensor([ids])
        if self.rope_index is None:
            return torch.arange(len(ids)).expand(3, -1)
        kinds = (row == self.processor.image_token_id).int()
        return self.rope_index(row, mm_token_type_ids=kinds, image_grid_thw=torch.stack(grids))[0][:, 0]


def _weights(answer: str, offsets: Sequence[tuple[int, int]]) -> list[float]:
    """Loss weights of an answer's tokens: the words that carry it count five times the words around them, and a long
    answer counts more than a short one only by the root of its length."""
    carrying = grammar.spans(answer)
    weights = [1.0 if any(start < end_ and begin < end for begin, end_ in carrying) else 0.2 for start, end in offsets]
    scale = sum(weights) ** -0.5
    return [weight * scale for weight in weights]


def packer_for(model: Any, processor: Any) -> Packer:
    """The packer of a loaded model: multimodal rotary positions where the model has them, plain ones otherwise."""
    return Packer(processor, getattr(model.model, "get_rope_index", None))

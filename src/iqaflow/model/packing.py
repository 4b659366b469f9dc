"""Packing: the images of a pack are encoded once, and all its questions branch from them, hidden from each other.

A pack is `prefix (images) + branch 1 + branch 2 + ...` with a tree attention mask and positions that restart at the end
of the prefix, so that every branch sees exactly what it would see alone. A base that cannot take such a mask gets one
question per row; its images are still encoded once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np

from iqaflow.model import families
from iqaflow.model.families.family import Placed
from iqaflow.model.prompt import Layout, layout
from iqaflow.tasks import grammar

LEAK = 1e-5  # largest share by which one packed question may change another: nothing of what a mask hides is left
AGREE = {"float32": 1e-3, "bfloat16": 0.05}  # largest share by which a packed question may differ from one asked alone
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Branch:
    """A question and its answer as token ids with a loss weight each. `soft` maps a place in the answer to a distribution
    over vocabulary ids (ids, probabilities) that replaces the one token written there; `task` is its place in `tasks.names()`.
    """

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


class Row(TypedDict):
    """A row of a batch before it is padded: `ids` and `segments` of its tokens, `positions` (axes, tokens); of every answer token
    the column that predicts it, its id, loss weight, task and soft distribution; the last prompt column of every branch; and
    the first position after the prefix.
    """

    ids: list[int]
    segments: list[int]
    positions: Any
    answers: list[tuple[int, int, float, int, tuple[np.ndarray, np.ndarray] | None]]
    ends: list[int]
    start: int


class Packer:
    """Turns packs into tensors for one model, as its family wants them; `alone` puts every question into a row of its own."""

    def __init__(self, model: Any, processor: Any, alone: bool = False) -> None:
        self.model, self.processor, self.alone = model, processor, alone
        self.family = families.of(model.config)
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._places: dict[tuple[int, int], Placed] = {}
        self._prefixes: dict[tuple[Any, ...], int] = {}

    def layout(self, roles: Sequence[str]) -> Layout:
        key = tuple(roles)
        if key not in self._layouts:
            self._layouts[key] = layout(self.processor, key)
        return self._layouts[key]

    def ids(self, text: str) -> list[int]:
        return self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def after(self, mark: str, text: str) -> list[int]:
        """Ids of a text that follows a special token: some tokenizers put a space before a text that stands alone."""
        return self.ids(mark + text)[len(self.ids(mark)) :]

    def branch(self, roles: Sequence[str], question: str, answer: str | None = None) -> Branch:
        """Token ids of a question and, for training, its answer with the end marker."""
        parts = self.layout(roles)
        prompt = self.after(parts.mark, f"{parts.lead}{question}{parts.close}")
        if answer is None:
            return Branch(prompt)
        coded = self.processor.tokenizer(f"{answer}{parts.end}", add_special_tokens=False, return_offsets_mapping=True)
        return Branch(prompt, coded["input_ids"], _weights(answer, coded["offset_mapping"]))

    def shape(self, sizes: Sequence[tuple[int, int]], roles: Sequence[str], branches: Sequence[int]) -> tuple[int, int]:
        """Rows and tokens of the longest row of a pack, from the sizes (H, W) of its images and the lengths of its branches."""
        key = tuple(roles), tuple(sizes)
        if key not in self._prefixes:
            for size in set(sizes) - set(self._places):
                self._places[size] = self.family.encode(self.processor, self.model.config, [np.zeros((*size, 3), np.uint8)])[1][0]
            self._prefixes[key] = len(self._prefix(roles, [self._places[size] for size in sizes]))
        if self.alone:
            return len(branches), self._prefixes[key] + max(branches)
        return 1, self._prefixes[key] + sum(branches)

    def collate(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """Tensors for a batch of packs of B rows and S columns.

        `input_ids` (B, S), `position_ids` (3, B, S) or (B, S), `attention_mask` (B, 1, S, S) additive, the family's vision
        tensors, `tokens` (images,) and, where they have one each, `grids` (images, 2) of visual tokens; `at` (N, 2) the row
        and column whose output predicts each answer token, `labels` (N,), `weights` (N,) of their losses, `tasks` (N,) of
        their questions; `soft_rows`, `soft_ids`, `soft_probs` for soft answer tokens; `ends` (rows, last prompt column) of
        every branch in order;
        `segments` (B, S): 0 prefix, n branch, -1 padding; `next_position` (B,) of a branch's first token.
        With `alone`, rows are questions, `attention_mask` (B, S) and `which` (images of all rows) say which images each has.
        """
        import torch

        images = [image for pack in packs for image in pack.images]
        vision, placed = self.family.encode(self.processor, self.model.config, images)
        places, numbers, rows, which = iter(placed), iter(range(len(images))), [], []
        for pack in packs:
            here, own = [next(places) for _ in pack.images], [next(numbers) for _ in pack.images]
            for some in [[branch] for branch in pack.branches] or [[]] if self.alone else [pack.branches]:
                rows.append(self._row(Pack(pack.images, pack.roles, some), here))
                which += own
        width = max(len(row["ids"]) for row in rows)
        pad = self.processor.tokenizer.pad_token_id
        ids = torch.full((len(rows), width), pad)
        segments = torch.full((len(rows), width), -1)
        positions = torch.zeros((self.family.axes, len(rows), width), dtype=torch.long)
        at: list[tuple[int, int]] = []
        labels: list[int] = []
        weights: list[float] = []
        tasks: list[int] = []
        ends: list[tuple[int, int]] = []
        soft: list[tuple[int, np.ndarray, np.ndarray]] = []
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
        batch = {
            **vision,
            "input_ids": ids,
            "position_ids": positions if self.family.axes > 1 else positions[0],
            "attention_mask": (segments >= 0).long() if self.alone else tree_mask(segments),
            "tokens": torch.tensor([place.tokens for place in placed]),
            "at": torch.tensor(at).reshape(-1, 2),
            "labels": torch.tensor(labels),
            "weights": torch.tensor(weights),
            "tasks": torch.tensor(tasks),
            "ends": torch.tensor(ends).reshape(-1, 2),
            "segments": segments,
            "next_position": torch.tensor([row["start"] for row in rows]),
        }
        if all(place.grid for place in placed):
            batch["grids"] = torch.tensor([place.grid for place in placed])
        if self.alone:
            batch["which"] = torch.tensor(which)
        if soft:
            batch["soft_rows"] = torch.tensor([row for row, _, _ in soft])
            wide = max(len(ids) for _, ids, _ in soft)
            batch["soft_ids"] = torch.tensor(np.stack([np.pad(ids, (0, wide - len(ids))) for _, ids, _ in soft]))
            batch["soft_probs"] = torch.tensor(np.stack([np.pad(p, (0, wide - len(p))) for _, _, p in soft])).float()
        return batch

    def _prefix(self, roles: Sequence[str], placed: Sequence[Placed]) -> list[int]:
        """Token ids of what all questions share."""
        parts = self.layout(roles)
        pieces = parts.prefix.split(self.processor.image_token)
        text = pieces[0] + "".join(place.text + piece for place, piece in zip(placed, pieces[1:], strict=True))
        return [*([] if parts.begin is None else [parts.begin]), *self.ids(text)]

    def _row(self, pack: Pack, placed: Sequence[Placed]) -> Row:
        import torch

        ids = self._prefix(pack.roles, placed)
        positions = self.family.positions(self.model, torch.tensor(ids), self.processor.image_token_id, placed)
        start = int(positions.max()) + 1
        segments, answers, ends, chunks = [0] * len(ids), [], [], [positions]
        for number, branch in enumerate(pack.branches, 1):
            whole = [*branch.prompt, *branch.answer]
            last = len(ids) + len(branch.prompt) - 1
            ends.append(last)
            answers += [
                (last + step, label, weight, branch.task, branch.soft.get(step))
                for step, (label, weight) in enumerate(zip(branch.answer, branch.weights, strict=True))
            ]
            chunks.append(torch.arange(start, start + len(whole)).expand(len(positions), -1))
            ids = [*ids, *whole]
            segments += [number] * len(whole)
        return {
            "ids": ids,
            "segments": segments,
            "positions": torch.cat(chunks, 1),
            "answers": answers,
            "ends": ends,
            "start": start,
        }


def tree_mask(segments: Any) -> Any:
    """Additive mask (B, 1, S, S): a token sees the prefix and its own branch before it. `segments` (B, S) as in `collate`."""
    import torch

    width = segments.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    keys, queries = segments[:, None, :], segments[:, :, None]
    allowed = causal & (keys >= 0) & ((keys == 0) | (keys == queries))
    allowed |= torch.eye(width, dtype=torch.bool)  # padding looks at itself: a row of no keys would be NaN
    return torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)[:, None]


def _weights(answer: str, offsets: Sequence[tuple[int, int]]) -> list[float]:
    """Loss weights of an answer's tokens: the words that carry it count five times the words around them, and a long
    answer counts more than a short one only by the root of its length.
    """
    carrying = grammar.spans(answer)
    weights = [1.0 if any(start < end_ and begin < end for begin, end_ in carrying) else 0.2 for start, end in offsets]
    scale = sum(weights) ** -0.5
    return [weight * scale for weight in weights]


def packer_for(model: Any, processor: Any) -> Packer:
    """The packer of a loaded model. If the model cannot take a tree mask, it asks one question per row, and says so."""
    packer = Packer(model, processor)
    if not hasattr(model, "_iqaflow_packs"):
        reason = _cannot_pack(packer)
        model._iqaflow_packs = reason is None
        if reason:
            log.warning("The base asks one question per row, without packing: %s.", reason)
    packer.alone = not model._iqaflow_packs
    return packer


def _cannot_pack(packer: Packer) -> str | None:
    """Why a model cannot take a tree mask, or None: by its layers and attention, else by asking it two questions both ways."""
    text = packer.model.config.get_text_config()
    others = sorted(set(getattr(text, "layer_types", None) or ()) - {"full_attention"})
    if others:
        return f"its {text.model_type} language model has {' and '.join(others)} layers"
    if not getattr(text, "layer_types", None) and getattr(text, "sliding_window", None):
        return f"its {text.model_type} language model sees {text.sliding_window} tokens back"
    if "flash" in str(getattr(text, "_attn_implementation", "")):
        return f"{text._attn_implementation} takes no tree mask"
    weight = next(packer.model.parameters())
    if weight.is_meta or hasattr(weight, "ds_id"):
        return None  # no weights here to ask
    try:
        leak, apart = probe(packer)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return f"its {text.model_type} language model refuses a tree mask ({str(error).splitlines()[0]})"
    if leak > LEAK:
        return f"a packed question changes the answer to the next one by {leak:.1%}"
    if apart > AGREE.get(str(packer.model.dtype).removeprefix("torch."), 0.05):
        return f"a packed question differs from the same one asked alone by {apart:.1%}"
    return None


def probe(packer: Packer) -> tuple[float, float]:
    """Ask the model two questions packed, packed after another first question, and alone. Gives how far the second answer's
    hidden states move, relative to their size, with the first question (none under a mask that hides it, in any
    precision) and from packed to alone (rounding).
    """
    import torch

    model, family = packer.model, packer.family
    image = np.linspace(0, 255, 64 * 96 * 3).reshape(64, 96, 3).astype(np.uint8)
    roles, training = ("reference", "image"), model.training
    first, second = packer.branch(roles, "What is wrong here?"), packer.branch(roles, "Where?", "top left: [sky]")
    other = Branch(first.prompt[::-1])

    def hidden(branches: list[Branch], alone: bool) -> Any:
        batch = Packer(model, packer.processor, alone).collate([Pack([image, image[:, ::-1]], roles, branches)])
        batch = {name: value.to(model.device) for name, value in batch.items()}
        for name in ("pixel_values", *(() if alone else ("attention_mask",))):
            batch[name] = batch[name].clamp(min=torch.finfo(model.dtype).min).to(model.dtype)
        states = family.hidden(model, batch, family.features(model, batch)).float()
        return states[batch["at"][:, 0], batch["at"][:, 1]]

    model.eval()
    with torch.no_grad():
        packed, changed = hidden([first, second], False), hidden([other, second], False)
        alone = hidden([second], True)
    model.train(training)
    return float((packed - changed).norm() / alone.norm()), float((packed - alone).norm() / alone.norm())

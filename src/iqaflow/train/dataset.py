"""The training split as packs: one per set of images, with the questions drawn for a step.

The order is a function of (seed, epoch) alone, so it is the same for any number of ranks, and a resumed run continues it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

import numpy as np

from iqaflow import tasks
from iqaflow.core.config.schema import Train
from iqaflow.core.errors import StageError
from iqaflow.data.arrow_rows import Held
from iqaflow.data.image_store import Pictures
from iqaflow.data.images import decode
from iqaflow.data.masks import decode_mask
from iqaflow.data.rows import ImageRow, Turn
from iqaflow.model.dense_head import Truth, single_tokens
from iqaflow.model.packing import Branch, Pack, Packer
from iqaflow.tasks import score as rating
from iqaflow.tasks.grammar import CELLS, GRID, RATINGS

IMAGE_COLUMNS = ["origin", "width", "height", "distortions", "regions", "score", "score_std"]
CONVERSATION_COLUMNS = ["task", "turns", "targets.region_ids"]
KNOWN = ("synthetic", "authentic")  # origins whose distortions are all in the table


class QuestionRow(TypedDict):
    """A conversation's CONVERSATION_COLUMNS."""

    task: str
    turns: list[Turn]
    region_ids: list[int] | None


class Packs:
    """All packs of a split. Pictures stay on disk until their pack is made."""

    def __init__(self, folder: Path, split: str, packer: Packer, train: Train, seed: int) -> None:
        self.packer, self.train, self.seed = packer, train, seed
        self.pictures = Pictures(folder, split, IMAGE_COLUMNS)
        self.conversations = Held(folder, "conversations", split, CONVERSATION_COLUMNS)
        grouping = Held(folder, "conversations", split, ["image_ids", "dataset"])
        grouped: dict[tuple[tuple[str, str], ...], list[int]] = {}
        for number, images in enumerate(grouping.column("image_ids")):
            grouped.setdefault(tuple((image["role"], image["image_id"]) for image in images), []).append(number)
        self.keys = sorted(grouped)
        self.questions = [np.array(grouped[key], np.int32) for key in self.keys]
        self.mixed = None
        if train.mixture:
            datasets = list(grouping.column("dataset"))
            self.mixed = mixed([datasets[rows[0]] for rows in self.questions], dict(train.mixture), seed)
        self._order = -1, np.empty(0, int)
        self._lengths: dict[int, int] = {}
        if train.soft_targets:
            words = [str(cell) for cell in range(CELLS)], RATINGS
            self._cells, self._ratings = (
                single_tokens(packer.processor.tokenizer, some, "train.soft_targets", "false") for some in words
            )
            self._known = set(self._cells)

    def __len__(self) -> int:
        return len(self.keys)

    def order(self, epoch: int) -> np.ndarray:
        """Pack numbers in the order of an epoch."""
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, 17, epoch])
            self._order = epoch, rng.permutation(len(self)) if self.mixed is None else self.mixed(epoch)
        return self._order[1]

    def pack(self, number: int, epoch: int) -> tuple[Pack, list[Truth]]:
        """Pack `number` with the questions of this epoch, and what is true of each of its images."""
        roles = [role for role, _ in self.keys[number]]
        images, truths = [], []
        known: dict[str, ImageRow] = {}
        for role, image_id in self.keys[number]:
            known[image_id] = row = cast(ImageRow, self.pictures.row(image_id))  # its IMAGE_COLUMNS
            images.append(decode(self.pictures.read(image_id, "reference" if role == "reference" else "image")))
            truths.append(Truth(()) if role == "reference" or not self.train.dense else _truth(row))
        rows = cast(list[QuestionRow], self.conversations.rows(self._drawn(number, epoch)))
        branches = [self._branch(roles, row, known[self.keys[number][-1][1]]) for row in rows]
        return Pack(images, roles, branches), truths

    def shape(self, number: int, epoch: int) -> tuple[int, int]:
        """Rows and tokens of the longest row of pack `number` with the questions of this epoch; no picture is read."""
        roles = [role for role, _ in self.keys[number]]
        rows = [self.pictures.row(image_id) for _, image_id in self.keys[number]]
        return self.packer.shape(
            [(row["height"], row["width"]) for row in rows],
            roles,
            [self._length(roles, row) for row in self._drawn(number, epoch)],
        )

    def _drawn(self, number: int, epoch: int) -> list[int]:
        """The conversations a pack asks in this epoch."""
        rng = np.random.default_rng([self.seed, 23, epoch, int(number)])
        chosen = sorted(rng.permutation(len(self.questions[number]))[: self.train.questions])
        return self.questions[number][chosen].tolist()

    def _length(self, roles: list[str], row: int) -> int:
        if row not in self._lengths:
            branch = self.packer.branch(roles, *(turn["text"] for turn in self.conversations[row]["turns"]))
            self._lengths[row] = len(branch.prompt) + len(branch.answer)
        return self._lengths[row]

    def _branch(self, roles: list[str], row: QuestionRow, image: ImageRow) -> Branch:
        question, answer = (turn["text"] for turn in row["turns"])
        branch = replace(self.packer.branch(roles, question, answer), task=tasks.names().index(row["task"]))
        if self.train.soft_targets:
            self._soften(branch, row, image)
        return branch

    def _soften(self, branch: Branch, row: QuestionRow, image: ImageRow) -> None:
        """Point cells learn the region's whole distribution, ratings what `train.ratings` says of the score."""
        ids = row["region_ids"]
        region = next((r for r in image["regions"] if ids and r["region_id"] == ids[0]), None)
        if row["task"] == "score" and branch.answer[0] in self._ratings:
            score = region["score"] if region else image["score"]
            if score is not None and score == score and self.train.ratings != "word":
                branch.soft[0] = np.array(self._ratings), rating.shares(score, 0.0 if region else self._opinions(image))
        elif row["task"] == "ground" and region:
            point = next((step for step, token in enumerate(branch.answer) if token in self._known), None)
            if point is not None:
                branch.soft[point] = np.array(self._cells), cell_shares(decode_mask(region["mask_rle"]))

    def _opinions(self, image: ImageRow) -> float:
        """The spread of a score that counts: a metric has none, people have theirs or a usual one."""
        if self.train.ratings != "distribution" or image["origin"] == "synthetic":
            return 0.0
        return rating.OPINIONS if image["score_std"] is None else image["score_std"]


def mixed(datasets: Sequence[str], weights: dict[str, float], seed: int) -> Callable[[int], np.ndarray]:
    """Orders of pack numbers by epoch under `train.mixture`: a pack is drawn from each data set as often as its weight says,
    whatever their sizes. They are as long as `datasets`, which names the data set of every pack.

    Every stretch of an order holds each data set in its share: the one that is furthest behind comes next. In an epoch no pack
    comes twice before all of its data set came once. Raises StageError unless every data set has one weight.
    """
    names = sorted(set(datasets))
    if set(names) != set(weights):
        raise StageError(f"train.mixture weighs {sorted(weights)}, but the training split holds {names}: weigh each of these.")
    shares = np.array([weights[name] for name in names], float)
    shares /= shares.sum()
    pools = [np.flatnonzero(np.array(datasets) == name) for name in names]

    def order(epoch: int) -> np.ndarray:
        draws = [_endless(pool, np.random.default_rng([seed, 29, epoch, which])) for which, pool in enumerate(pools)]
        counts, numbers = np.zeros(len(names)), np.empty(len(datasets), int)
        for step in range(len(datasets)):
            which = int(np.argmax(shares * (step + 1) - counts))
            counts[which] += 1
            numbers[step] = next(draws[which])
        return numbers

    return order


def _endless(pool: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(pool)


def cell_shares(mask: np.ndarray) -> np.ndarray:
    """How a mask (H, W) spreads over the 20x20 cells, (400,), summing to 1."""
    rows = np.arange(mask.shape[0]) * GRID // mask.shape[0]
    columns = np.arange(mask.shape[1]) * GRID // mask.shape[1]
    counts = np.zeros((GRID, GRID), np.float32)
    np.add.at(counts, (rows[:, None], columns[None, :]), mask.astype(np.float32))
    return counts.ravel() / counts.sum()


def _truth(row: ImageRow) -> Truth:
    unseen = row["origin"] != "synthetic" and not row["distortions"]  # rated, but nobody said what is wrong
    if row["origin"] not in KNOWN or unseen:
        return Truth(None)
    masks = {region["region_id"]: region["mask_rle"] for region in row["regions"]}
    flaws = []
    for flaw in row["distortions"]:
        if flaw["level"] is None:
            return Truth(None)
        mask = None if flaw["region_id"] is None else decode_mask(masks[flaw["region_id"]])
        flaws.append((flaw["category"], flaw["level"], mask))
    return Truth(tuple(flaws))

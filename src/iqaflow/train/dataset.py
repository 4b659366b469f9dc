"""The training split as packs: one per set of images, with the questions drawn for a step.

The order is a function of (seed, epoch) alone, so it is the same for any number of ranks, and a resumed run continues it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.data.images import decode
from iqaflow.data.pictures import Pictures
from iqaflow.data.tables import TASKS, decode_mask, read_rows
from iqaflow.sections import Train
from iqaflow.tasks import score as rating
from iqaflow.tasks.grammar import CELLS, GRID, RATINGS
from iqaflow.train import mixture
from iqaflow.train.dense import Truth, single_tokens
from iqaflow.train.packing import Branch, Pack, Packer

IMAGE_COLUMNS = ["origin", "distortions", "regions", "score", "score_std"]
KNOWN = ("synthetic", "authentic")  # origins whose distortions are all in the table


class Packs:
    """All packs of a split. Pictures stay on disk until their pack is made."""

    def __init__(self, folder: Path, split: str, packer: Packer, train: Train, seed: int) -> None:
        self.packer, self.train, self.seed = packer, train, seed
        self.pictures = Pictures(folder, split, IMAGE_COLUMNS)
        self.images = self.pictures.rows
        grouped: dict[tuple[tuple[str, str], ...], list[dict[str, Any]]] = {}
        for row in read_rows(folder, "conversations", split):
            key = tuple((image["role"], image["image_id"]) for image in row["image_ids"])
            grouped.setdefault(key, []).append(row)
        self.keys = sorted(grouped)
        self.asked = [grouped[key] for key in self.keys]
        self.mixed = mixture.of([rows[0]["dataset"] for rows in self.asked], dict(train.mixture), seed) if train.mixture else None
        self._order = -1, np.empty(0, int)
        if train.soft_targets:
            words = [str(cell) for cell in range(CELLS)], RATINGS
            self._cells, self._ratings = (single_tokens(packer.processor.tokenizer, some, "train.soft_targets", "false")
                                          for some in words)
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
        rng = np.random.default_rng([self.seed, 23, epoch, int(number)])
        roles = [role for role, _ in self.keys[number]]
        rows = self.asked[number]
        chosen = rng.permutation(len(rows))[: self.train.questions]
        images, truths = [], []
        for role, image_id in self.keys[number]:
            row = self.images[image_id]
            images.append(decode(self.pictures.read(image_id, "reference" if role == "reference" else "image")))
            truths.append(Truth(()) if role == "reference" or not self.train.dense else _truth(row))
        branches = [self._branch(roles, rows[index]) for index in sorted(chosen)]
        return Pack(images, roles, branches), truths

    def _branch(self, roles: list[str], row: dict[str, Any]) -> Branch:
        question, answer = (turn["text"] for turn in row["turns"])
        branch = replace(self.packer.branch(roles, question, answer), task=TASKS.index(row["task"]))
        if self.train.soft_targets:
            self._soften(branch, row)
        return branch

    def _soften(self, branch: Branch, row: dict[str, Any]) -> None:
        """Point cells learn the region's whole distribution, ratings what `train.ratings` says of the score."""
        image = self.images[row["image_ids"][-1]["image_id"]]
        ids = row["targets"]["region_ids"]
        region = next((r for r in image["regions"] if ids and r["region_id"] == ids[0]), None)
        if row["task"] == "score" and branch.answer[0] in self._ratings:
            score = region["score"] if region else image["score"]
            if score is not None and score == score and self.train.ratings != "word":
                branch.soft[0] = np.array(self._ratings), rating.shares(score, 0.0 if region else self._opinions(image))
        elif row["task"] == "ground" and region:
            point = next((step for step, token in enumerate(branch.answer) if token in self._known), None)
            if point is not None:
                branch.soft[point] = np.array(self._cells), cell_shares(decode_mask(region["mask_rle"]))


    def _opinions(self, image: dict[str, Any]) -> float:
        """The spread of a score that counts: a metric has none, people have theirs or a usual one."""
        if self.train.ratings != "distribution" or image["origin"] == "synthetic":
            return 0.0
        return rating.OPINIONS if image["score_std"] is None else image["score_std"]


def cell_shares(mask: np.ndarray) -> np.ndarray:
    """How a mask (H, W) spreads over the 20x20 cells, (400,), summing to 1."""
    rows = np.arange(mask.shape[0]) * GRID // mask.shape[0]
    columns = np.arange(mask.shape[1]) * GRID // mask.shape[1]
    counts = np.zeros((GRID, GRID), np.float32)
    np.add.at(counts, (rows[:, None], columns[None, :]), mask.astype(np.float32))
    return counts.ravel() / counts.sum()


def _truth(row: dict[str, Any]) -> Truth:
    unseen = row["origin"] != "synthetic" and not row["distortions"]  # rated, but nobody said what is wrong
    if row["origin"] not in KNOWN or unseen or any(flaw["level"] is None for flaw in row["distortions"]):
        return Truth(None)
    masks = {region["region_id"]: region["mask_rle"] for region in row["regions"]}
    return Truth(tuple(
        (flaw["category"], flaw["level"], None if flaw["region_id"] is None else decode_mask(masks[flaw["region_id"]]))
        for flaw in row["distortions"]
    ))

"""Micro-batches of packs as tensors. Which packs a step sees is a function of (seed, step) alone; the next micro-batch is made
in a thread while the model works on this one, so that a rank hardly ever waits for data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.workspace import Workspace
from iqaflow.model.packing import packer_for
from iqaflow.tasks import vocabulary
from iqaflow.train.dataset import Packs

WINDOW = 64  # packs among which those of like length are put together: more would make steps of one kind


class Batches:
    """The micro-batches of a split."""

    def __init__(self, config: Config, workspace: Workspace, model: Any, processor: Any, split: str = "train") -> None:
        self.train, self.seed = config.train, config.seed
        self._planned: dict[int, list[list[int]]] = {}
        # a copy: tokenizers cannot be used by two threads at once
        self.packs = Packs(workspace.annotated, split, packer_for(model, copy.deepcopy(processor)), config.train, config.seed)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: dict[tuple[int, int], Future[dict[str, Any]]] = {}

    def __len__(self) -> int:
        return len(self.packs)

    @property
    def steps(self) -> int:
        """Optimizer steps of the run: `train.epochs` passes, `train.max_steps` at most."""
        train = self.train
        micros = len(self._by_tokens(0)) if train.tokens else len(self.packs) / train.micro_batch
        steps = max(1, round(train.epochs * micros / train.micro_batches))
        return min(steps, train.max_steps or steps)

    def members(self, step: int, micro: int) -> list[tuple[int, int]]:
        """The packs of a micro-batch: (number, epoch) each."""
        train, place = self.train, step * self.train.micro_batches + micro
        if train.tokens:
            epoch = 0
            while place >= len(self._by_tokens(epoch)):
                place, epoch = place - len(self._by_tokens(epoch)), epoch + 1
            return [(number, epoch) for number in self._by_tokens(epoch)[place]]
        places = [divmod(number, len(self.packs)) for number in range(place * train.micro_batch, (place + 1) * train.micro_batch)]
        return [(int(self.packs.order(epoch)[at]), epoch) for epoch, at in places]

    def _by_tokens(self, epoch: int) -> list[list[int]]:
        if epoch not in self._planned:
            rng = np.random.default_rng([self.seed, 31, epoch])
            self._planned[epoch] = micro_batches(
                self.packs.order(epoch), lambda number: self.packs.shape(number, epoch), self.train.tokens or 0, rng
            )
        return self._planned[epoch]

    def take(self, step: int, micro: int, then: tuple[int, int] | None = None) -> dict[str, Any]:
        """Micro-batch `micro` of `step`; the one named by `then` is begun in the background."""
        waiting = self._ahead.pop((step, micro), None)
        if then is not None and then not in self._ahead:
            if waiting is None:  # nothing was begun: make this one first
                waiting = self._pool.submit(self.make, step, micro)
            self._ahead[then] = self._pool.submit(self.make, *then)
        return waiting.result() if waiting is not None else self.make(step, micro)

    def make(self, step: int, micro: int) -> dict[str, Any]:
        """The tensors, on the host: `packing.Packer.collate`, and under `dense` the truth of every visual token."""
        import torch

        from iqaflow.model import dense_head

        train = self.train
        packs = [self.packs.pack(number, epoch) for number, epoch in self.members(step, micro)]
        batch = self.packs.packer.collate([pack for pack, _ in packs])
        batch["packs"] = torch.tensor(len(packs))
        if train.dense:
            truths = [truth for _, several in packs for truth in several]
            batch["dense"] = {
                key: torch.from_numpy(np.ascontiguousarray(value))
                for key, value in dense_head.targets(truths, batch.get("grids"), vocabulary.current()).items()
            }
        if train.precision == "bf16":
            if batch["attention_mask"].is_floating_point():
                batch["attention_mask"] = batch["attention_mask"].clamp(min=torch.finfo(torch.bfloat16).min).bfloat16()
            batch["pixel_values"] = batch["pixel_values"].bfloat16()
        return batch


def micro_batches(
    order: Sequence[int] | np.ndarray, shape: Callable[[int], tuple[int, int]], tokens: int, rng: np.random.Generator
) -> list[list[int]]:
    """Pack numbers of an epoch by micro-batch. `shape` is (rows, tokens of the longest row) of a pack; a micro-batch is as wide
    as its longest row, and its rows x width is at most `tokens`, unless a single pack is more. Every pack comes once.
    """
    batches: list[list[int]] = []
    for start in range(0, len(order), WINDOW):
        window = [int(number) for number in order[start : start + WINDOW]]
        shapes = {number: shape(number) for number in window}
        here: list[list[int]] = []
        rows = width = 0
        for number in sorted(window, key=lambda number: (-shapes[number][1], number)):  # the first is the widest of its batch
            more, wide = shapes[number]
            if not here or (rows + more) * width > tokens:
                here.append([])
                rows, width = 0, wide
            here[-1].append(number)
            rows += more
        batches += [here[place] for place in rng.permutation(len(here))]
    return batches

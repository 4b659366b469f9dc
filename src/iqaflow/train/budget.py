"""Micro-batches by tokens: packs of like length together, as many as `train.tokens` holds, padding included."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

WINDOW = 64  # packs among which those of like length are put together: more would make steps of one kind


def micro_batches(order: Sequence[int], shape: Callable[[int], tuple[int, int]], tokens: int,
                  rng: np.random.Generator) -> list[list[int]]:
    """Pack numbers of an epoch by micro-batch. `shape` is (rows, tokens of the longest row) of a pack; a micro-batch is as wide
    as its longest row, and its rows x width is at most `tokens`, unless a single pack is more. Every pack comes once."""
    made: list[list[int]] = []
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
        made += [here[place] for place in rng.permutation(len(here))]
    return made

"""Data sets mixed by weight: a training pack is drawn from each as often as `train.mixture` says, whatever their sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from iqaflow.core.errors import StageError


def of(datasets: Sequence[str], weights: dict[str, float], seed: int) -> Callable[[int], np.ndarray]:
    """Orders of pack numbers by epoch, as long as `datasets`, which names the data set of every pack.

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

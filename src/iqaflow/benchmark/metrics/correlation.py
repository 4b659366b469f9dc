"""How well predicted scores follow the true ones: SRCC, PLCC and mean absolute error.

PLCC is the plain Pearson correlation: scores already lie on the 0..1 scale, so no logistic curve is fitted first (the
field does that for scales that differ; it can only raise the value).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from iqaflow.benchmark.metrics import metric

if TYPE_CHECKING:
    import pandas as pd


def pearson(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation of two columns; columns (n, 2), or (B, n) each for values that differ by row."""
    return _pearson(columns[None, :, 0], columns[None, :, 1], weights)


def spearman(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman correlation of the rows repeated as often as their weights say: Pearson of weighted mid-ranks."""
    return _pearson(_ranks(columns[:, 0], weights), _ranks(columns[:, 1], weights), weights)


def _pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(1, keepdims=True)
    x = x - (weights * x).sum(1, keepdims=True) / total
    y = y - (weights * y).sum(1, keepdims=True) / total
    spread = (weights * x * x).sum(1) * (weights * y * y).sum(1)
    # constant values leave only rounding errors: no correlation is defined
    return np.where(spread > 1e-18, (weights * x * y).sum(1) / np.sqrt(spread), np.nan)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(B, n) mid-ranks of `values` (n,) in each resample; the order is the same in all, so it is sorted once."""
    order = np.argsort(values, kind="stable")
    in_order = values[order]
    starts = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))
    ties = np.add.reduceat(weights[:, order], starts, axis=1)  # (B, distinct values)
    middle = np.cumsum(ties, axis=1) - (ties - 1) / 2
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    return middle[:, group]


@metric("score", "srcc", "ranks images by quality (rank correlation)", reduce=spearman, headline=5)
@metric("score", "plcc", "scores quality (linear correlation)", reduce=pearson, headline=6)
def scores(frame: pd.DataFrame) -> np.ndarray:
    return frame[["target_value", "value"]].to_numpy()


@metric("score", "mae", "misses the score by", lower_is_better=True)
def error(frame: pd.DataFrame) -> np.ndarray:
    return (frame["target_value"] - frame["value"]).abs().to_numpy()

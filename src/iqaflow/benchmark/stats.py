"""95 % intervals by bootstrap, all resamples at once: a resample is a row of weights (how often each item was drawn).

Headline intervals resample items. Items of one photograph are not independent, so a second interval resamples whole
photographs with everything asked about them (cluster bootstrap): it says how the value would move on other photographs.
It is wider, and with very few photographs (the packaged source has three in its test split) it is itself unreliable
and tends to be too narrow; that is why it is given beside the item interval and does not replace it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

LEVEL = (2.5, 97.5)  # percentiles of a 95 % interval
_MAX_CELLS = 4_000_000  # resamples x items handled at a time: 32 MB of weights

Reduce = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, k) columns, (B, n) weights -> (B,) values
Interval = tuple[float, float]


@functools.lru_cache(maxsize=16)
def _draws(size: int, resamples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, size])
    return rng.multinomial(size, np.full(size, 1.0 / size), size=resamples).astype(np.float32)


def values(reduce: Reduce, columns: np.ndarray, resamples: int, seed: int, groups: Sequence[str] | None = None) -> np.ndarray:
    """The metric on every resample, (resamples,): of items, or of whole groups if `groups` names each item's."""
    if groups is None:
        draws, members = _draws(len(columns), resamples, seed), None
    else:
        names, members = np.unique(np.asarray(groups), return_inverse=True)
        draws = _draws(len(names), resamples, seed)
    step = max(1, _MAX_CELLS // max(1, len(columns)))
    parts = []
    for start in range(0, resamples, step):
        weights = draws[start : start + step]
        weights = weights if members is None else weights[:, members]
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may leave nothing to measure: it is NaN
            parts.append(reduce(columns, weights.astype(np.float64)))
    return np.concatenate(parts)


def interval(samples: np.ndarray) -> Interval | None:
    """The 95 % percentile interval; None if the metric is undefined on more than half of the resamples."""
    defined = samples[np.isfinite(samples)]
    if len(defined) * 2 <= len(samples):
        return None
    low, high = np.percentile(defined, LEVEL)
    return float(low), float(high)

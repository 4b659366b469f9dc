"""Leaks between splits: one row per photograph, with every split it appears in and its nearest look-alike elsewhere.

A model that saw a test photograph in training proves nothing, so splits may share neither a photograph nor a
near-duplicate by perceptual hash (DCT hash of 64 bits, compared by Hamming distance), whatever data set it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

REACH = 5  # bits: look-alikes are looked for at least so far, so that the report can say how near the nearest is
PAIRS = 4_000_000  # candidates compared at once: bounds the memory


def photographs(images: pd.DataFrame, reach: int = REACH) -> pd.DataFrame:
    """One row per `source_id`: `images`, `datasets` and `splits` (names, comma separated), `splits_of_bytes`, how many of
    each, `contents` (different hashes under one id), and the nearest photograph of another split within `reach` bits.
    """
    owner = _Grouped(images["source_id"])
    first = images.iloc[np.flatnonzero(owner.first)][["source_id", "source_sha256", "phash", "split"]].reset_index(drop=True)
    content = images["source_sha256"].astype(object).astype(str) + images["phash"].astype(object).astype(str)
    frame = first[["source_id"]].copy()
    frame["images"] = np.bincount(owner.group[owner.group >= 0], minlength=len(frame))
    frame["splits"], frame["split_count"] = _names(owner.group, images["split"], len(frame))
    frame["datasets"], _ = _names(owner.group, images["dataset"], len(frame))
    frame["contents"] = _names(owner.group, content, len(frame))[1]
    of_bytes = _Grouped(images["source_sha256"])
    names, counts = _names(of_bytes.group, images["split"], int(of_bytes.group.max(initial=-1)) + 1)
    mine = of_bytes.group[np.flatnonzero(owner.first)]
    known = mine >= 0
    frame["splits_of_bytes"] = np.where(known, names[mine] if len(names) else None, None)
    frame["byte_split_count"] = np.where(known, counts[mine] if len(counts) else np.nan, np.nan)
    frame["nearest_distance"], frame["nearest_photograph"] = _nearest(first, reach)
    return frame.sort_values("source_id", kind="stable").reset_index(drop=True)


class _Grouped:
    """The values of a column as group numbers (-1 where null) in order of appearance; `first` marks each one's first row."""

    def __init__(self, values: pd.Series) -> None:
        import pandas as pd

        self.group = pd.factorize(values)[0]
        self.first = ~pd.Series(self.group).duplicated().to_numpy() & (self.group >= 0)


def _names(group: np.ndarray, values: pd.Series, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """For each group its different values, sorted and joined by commas, and how many they are (nulls are not counted)."""
    import pandas as pd

    pairs = pd.DataFrame({"group": group, "value": values.to_numpy(dtype=object)})
    pairs = pairs[(group >= 0) & pairs["value"].notna()].drop_duplicates()
    counts = np.bincount(pairs["group"], minlength=groups) if len(pairs) else np.zeros(groups, int)
    names = np.full(groups, "", dtype=object)
    names[pairs["group"].to_numpy(int)] = pairs["value"].astype(str).to_numpy(dtype=object)
    for number, several in pairs[pairs["group"].isin(np.flatnonzero(counts > 1))].groupby("group"):
        names[number] = ", ".join(sorted(map(str, several["value"])))
    return names, counts


def _nearest(frame: pd.DataFrame, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """For each photograph the smallest hash distance to one of another split, and that one's id; NaN and None beyond `reach`.

    Hashes within `reach` bits agree in at least one of `reach` + 1 bands, so only those that share a band are compared:
    none is missed, and 100,000 photographs take a second.
    """
    distance, other = np.full(len(frame), np.nan), np.full(len(frame), None, dtype=object)
    known = np.flatnonzero(frame["phash"].fillna("").astype(object).str.fullmatch("[0-9a-f]{16}").to_numpy(bool))
    if not len(known):
        return distance, other
    bits = np.array([int(text, 16) for text in frame["phash"].to_numpy(dtype=object)[known]], dtype=np.uint64)
    split = frame["split"].fillna("").to_numpy(dtype=object)[known]
    ids = frame["source_id"].astype(str).to_numpy(dtype=object)[known]
    order = np.argsort(ids, kind="stable")
    rank = np.empty(len(known), np.int64)
    rank[order] = np.arange(len(known))
    # photographs of one split with one hash are looked at once, as the first of them by id
    kinds = np.unique(split, return_inverse=True)[1]
    alike = np.unique(np.stack([bits, kinds.astype(np.uint64)]), axis=1, return_inverse=True)[1].ravel()
    first = np.full(alike.max() + 1, len(known), np.int64)
    np.minimum.at(first, alike, rank)
    chosen = order[first]
    # distance * count + rank of the other: the smallest is the nearest, and the first by id of equally near ones
    none = 1000 * len(known)
    best = np.full(len(first), none, np.int64)
    for a, b in _candidates(bits[chosen], kinds[chosen], reach):
        away = np.bitwise_count(bits[chosen[a]] ^ bits[chosen[b]]).astype(np.int64)
        near = away <= reach
        for mine, theirs in ((a[near], b[near]), (b[near], a[near])):
            np.minimum.at(best, mine, away[near] * len(known) + first[theirs])
    mine = best[alike]
    matched = np.flatnonzero(mine < none)
    distance[known[matched]] = mine[matched] // len(known)
    other[known[matched]] = ids[order[mine[matched] % len(known)]]
    return distance, other


def _candidates(bits: np.ndarray, split: np.ndarray, reach: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of photographs of different splits whose hashes agree in one of `reach` + 1 bands, some at a time."""
    edges = np.linspace(0, 64, reach + 2).round().astype(int)
    for low, high in pairwise(edges):
        band = (bits >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.lexsort((split, band))
        band, kind = band[order], split[order]
        starts = np.flatnonzero(np.r_[True, (band[1:] != band[:-1]) | (kind[1:] != kind[:-1])])
        ends = np.r_[starts[1:], len(band)]
        # runs of one band and one split; each is compared with the later runs of its band
        last = np.searchsorted(band[starts], band[starts], side="right")
        reach_of = np.r_[starts, len(band)][last]  # where the band ends
        size = reach_of - ends
        left = np.repeat(np.arange(len(starts)), ends - starts)  # the run of each photograph
        todo = size[left]
        for first in _chunks(todo):
            rows = np.arange(*first)
            count = todo[rows]
            a = np.repeat(rows, count)
            b = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + ends[left[a]]
            yield order[a], order[b]


def _chunks(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of rows with about PAIRS pairs together; a single row may have more."""
    total, start = np.cumsum(counts), 0
    while start < len(counts):
        before = total[start - 1] if start else 0
        stop = max(int(np.searchsorted(total, before + PAIRS, side="right")), start + 1)
        yield start, stop
        start = stop

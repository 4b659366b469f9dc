"""Scenes and splits: near-duplicates stay together, whatever data set their copies are in.

Two photographs are near-duplicates when their 64-bit perceptual hashes (DCT) differ in at most four bits. Resized,
re-encoded and slightly retouched copies and burst shots are found that way; mirrored or rotated copies and crops are not.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from iqaflow.core.config.schema import Splits
from iqaflow.data.tables import SPLITS

if TYPE_CHECKING:
    from iqaflow.data.photographs import LeftOut, Photograph

NEAR_DUPLICATE_BITS = 10
OWN = "synthetic"  # the data set of the main source
FIRST = (2, 1, 0)  # test and calibration are filled first, so that three scenes already fill all splits


def assign(
    photographs: Sequence[Photograph], weights: Splits, limit: int | None = None, frozen: Mapping[str, str] | None = None
) -> tuple[list[Photograph], list[LeftOut]]:
    """The photographs with their splits, and those that cannot have one with the reason.

    Each scene goes where the share of its data set is furthest behind, in an order that is random but fixed (by content hash).
    The scenes of the main source are dealt first, so that another data set beside it does not change their splits unless it
    joins two of them. `limit` keeps that many scenes of the main source. `frozen` holds splits by name inside the main source.
    """
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys([OWN, *(photograph.dataset for photograph in photographs)]))}
    ordered = sorted(photographs, key=lambda photograph: (ranks[photograph.dataset], photograph.sha256))
    share = np.array([getattr(weights, split) for split in SPLITS], dtype=float)
    filled = {name: np.zeros(len(SPLITS)) for name in ranks}
    chosen: list[Photograph] = []
    left_out: list[LeftOut] = []
    for scene in _limited(_scenes(ordered), limit):
        own = [photograph for photograph in scene if photograph.dataset == OWN]
        fixed = {photograph.origin: frozen[photograph.origin] for photograph in own} if frozen else {}
        if len(set(fixed.values())) > 1:  # its copies are in several frozen splits already
            chosen += [photograph.model_copy(update={"split": fixed[photograph.origin]}) for photograph in own]
            left_out += [
                {
                    "file": f"{photograph.dataset}: {photograph.origin}",
                    "reason": f"a near-duplicate of photographs in different splits ({', '.join(sorted(fixed))})",
                }
                for photograph in scene
                if photograph.dataset != OWN
            ]
            continue
        turn = SPLITS.index(next(iter(fixed.values()))) if fixed else _turn(filled[scene[0].dataset], share)
        for photograph in scene:
            filled[photograph.dataset][turn] += 1
        chosen += [photograph.model_copy(update={"split": SPLITS[turn]}) for photograph in scene]
    return sorted(chosen, key=lambda photograph: (ranks[photograph.dataset], photograph.origin)), left_out


def groups(hashes: np.ndarray, bits: int = NEAR_DUPLICATE_BITS) -> np.ndarray:
    """Group number of every 64-bit hash (n,), uint64: hashes at most `bits` apart, over any chain of others, share one.

    Exact, and fast where comparing all pairs is not: of `bits` + 1 bands of a hash at least one is equal in two hashes that
    differ in `bits` places, so only hashes that share a band are compared: 100,000 in a tenth of a second.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    unique, inverse = np.unique(np.asarray(hashes, dtype=np.uint64), return_inverse=True)
    edges = np.linspace(0, 64, bits + 2).round().astype(np.uint64)
    pairs = [_near(unique, low, high, bits) for low, high in itertools.pairwise(edges)]
    left, right = np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])
    graph = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(len(unique), len(unique)))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels[inverse]


def _near(hashes: np.ndarray, low: np.uint64, high: np.uint64, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows that agree in the bits [low, high) and differ in at most `bits` in all."""
    band = (hashes >> low) & ((np.uint64(1) << (high - low)) - np.uint64(1))
    order = np.argsort(band, kind="stable")
    band, hashes = band[order], hashes[order]
    left, right, step = [], [], 0
    rows = np.arange(len(band))
    while len(rows):  # compare each row with the next, the second next, ... as long as any pair shares its band
        step += 1
        rows = rows[rows + step < len(band)]
        rows = rows[band[rows + step] == band[rows]]
        near = rows[np.bitwise_count(hashes[rows] ^ hashes[rows + step]) <= bits]
        left.append(order[near])
        right.append(order[near + step])
    empty = np.empty(0, dtype=np.intp)
    return np.concatenate([empty, *left]), np.concatenate([empty, *right])


def _scenes(photographs: Sequence[Photograph]) -> list[list[Photograph]]:
    """Photographs of one scene together, scenes in the order of their first photograph."""
    hashes = np.array([int(photograph.phash, 16) for photograph in photographs], dtype=np.uint64)
    scenes: dict[int, list[Photograph]] = {}
    for photograph, group in zip(photographs, groups(hashes).tolist(), strict=True):
        scenes.setdefault(group, []).append(photograph)
    return list(scenes.values())


def _limited(scenes: list[list[Photograph]], limit: int | None) -> list[list[Photograph]]:
    """At most `limit` scenes of the main source; copies of the others in further data sets stay."""
    if limit is None:
        return scenes
    own = [scene for scene in scenes if scene[0].dataset == OWN]
    rest = [[photograph for photograph in scene if photograph.dataset != OWN] for scene in own[limit:]]
    return [*own[:limit], *(scene for scene in [*rest, *scenes[len(own) :]] if scene)]


def _turn(filled: np.ndarray, share: np.ndarray) -> int:
    empty = [turn for turn in FIRST if not filled[turn]]
    return empty[0] if empty else int(np.argmin(filled / share))

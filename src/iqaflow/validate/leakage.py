"""Leaks between splits: one row per photograph, with every split it appears in and its nearest look-alike elsewhere.

A model that saw a test photograph in training proves nothing, so splits may share neither a photograph nor a
near-duplicate by perceptual hash (DCT hash of 64 bits, compared by Hamming distance).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

BLOCK = 1024  # rows compared at once: bounds the memory of the distance table


def photographs(images: pd.DataFrame) -> pd.DataFrame:
    """One row per `source_id`: `images`, `splits` and `splits_of_bytes` (names, comma separated), how many of each,
    `contents` (different hashes under one id) and the nearest photograph of another split with its distance in bits."""
    import pandas as pd

    if images.empty:
        columns = (
            "source_id",
            "images",
            "splits",
            "split_count",
            "splits_of_bytes",
            "byte_split_count",
            "contents",
            "nearest_distance",
            "nearest_photograph",
        )
        return pd.DataFrame({column: [] for column in columns})

    def names(splits: pd.Series) -> str:
        return ", ".join(sorted({str(split) for split in splits}))

    groups = images.assign(content=images["source_sha256"].astype(str) + images["phash"].astype(str)).groupby(
        "source_id"
    )
    frame = groups.agg(
        images=("image_id", "size"),
        sha256=("source_sha256", "first"),
        phash=("phash", "first"),
        split=("split", "first"),
        splits=("split", names),
        split_count=("split", "nunique"),
        contents=("content", "nunique"),
    ).reset_index()
    by_bytes = images.groupby("source_sha256")["split"]
    frame["splits_of_bytes"] = frame["sha256"].map(by_bytes.agg(names))
    frame["byte_split_count"] = frame["sha256"].map(by_bytes.nunique())
    distance, other = _nearest(frame)
    frame["nearest_distance"] = distance
    frame["nearest_photograph"] = other
    return frame.drop(columns=["sha256", "phash"])


def _nearest(frame: pd.DataFrame) -> tuple[list[float | None], list[str | None]]:
    """For each photograph the smallest hash distance to one of another split, and that one's id."""
    import numpy as np

    hashes = [_bits(text) for text in frame["phash"]]
    known = np.array([row for row, value in enumerate(hashes) if value is not None], dtype=int)
    values = np.array([hashes[row] for row in known], dtype=np.uint64)
    splits = frame["split"].astype(str).to_numpy()[known]
    ids = frame["source_id"].to_numpy()[known]
    distance: list[float | None] = [None] * len(frame)
    other: list[str | None] = [None] * len(frame)
    for split in sorted(set(splits)):
        here, there = np.flatnonzero(splits == split), np.flatnonzero(splits != split)
        if not len(there):
            continue
        for start in range(0, len(here), BLOCK):
            block = here[start : start + BLOCK]
            bits = _distances(values[block], values[there])
            best = bits.argmin(1)  # the first of equals: fixed, because photographs are sorted by id
            for row, column in zip(range(len(block)), best, strict=True):
                distance[known[block[row]]] = float(bits[row, column])
                other[known[block[row]]] = str(ids[there[column]])
    return distance, other


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamming distances (len(a), len(b)) of 64-bit hashes."""
    import numpy as np

    return np.bitwise_count(a[:, None] ^ b[None, :])


def _bits(text: object) -> int | None:
    """A hash of 16 hex digits as a number; None if it is not one (another check names it)."""
    return int(text, 16) if isinstance(text, str) and re.fullmatch("[0-9a-f]{16}", text) else None

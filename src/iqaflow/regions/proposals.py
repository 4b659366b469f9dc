"""From a promptable segmenter's many masks to segments: drop unsure and repeated masks, mend them, lay them over each other.

Masks come as logits (N, h, w), positive inside (Segment Anything, Kirillov et al. 2023, appendix B).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STABLE = 1.0  # how far the threshold of a mask is moved to see whether it stays
LEAST = 0.001  # share of the photograph: smaller masks are dropped, smaller holes filled, smaller islands removed
HIDDEN = 0.5  # a mask that shows less than this of itself under its parts is dropped


def grid(side: int) -> np.ndarray:
    """Points (side * side, 2) as x, y in 0..1, in the middle of equal cells, row by row."""
    middle = (np.arange(side) + 0.5) / side
    return np.stack([np.tile(middle, side), np.repeat(middle, side)], axis=1)


def sure(logits: np.ndarray, scores: np.ndarray, predicted_iou: float, stability: float) -> np.ndarray:
    """Which masks (N) the model trusts (`scores`: the IoU it predicts), stay when their threshold moves by one, and are not
    tiny.
    """
    core, hull, area = ((logits > limit).sum((1, 2)) for limit in (STABLE, -STABLE, 0))
    trusted: np.ndarray = (scores >= predicted_iou) & (core >= stability * hull) & (area >= LEAST * logits[0].size)
    return trusted


def distinct(logits: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Indices of the masks left when, of any two with an IoU above `overlap`, only the one with the higher score stays;
    best first.
    """
    packed = np.packbits((logits > 0).reshape(len(logits), -1), axis=1)
    areas = np.bitwise_count(packed).sum(1, dtype=np.int64)
    kept: list[int] = []
    for at in np.argsort(-scores, kind="stable").tolist():
        shared = np.bitwise_count(packed[kept] & packed[at]).sum(1, dtype=np.int64)
        if not (shared > overlap * (areas[kept] + areas[at] - shared)).any():
            kept.append(at)
    return np.array(kept, np.intp)


def mended(logits: np.ndarray) -> np.ndarray:
    """One mask's logits (h, w) without small holes and islands; its largest part always stays."""
    import cv2

    mended = logits.copy()
    least = LEAST * logits.size
    for inside in (False, True):
        parts, labels, stats, _ = cv2.connectedComponentsWithStats(((mended > 0) == inside).astype(np.uint8), connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        small = areas < least
        if inside and parts > 1:
            small[areas.argmax()] = False
        mended[np.concatenate([[False], small])[labels]] = -STABLE if inside else STABLE
    return mended


def layered(masks: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """A label map (H, W), 0 for nothing, of masks given as logits (h, w): large ones below, their parts on top, numbered as
    given. A mask of which less than half still shows is a whole that its parts explain better: what is left of it is nothing.
    """
    import cv2

    labels = np.zeros(size, np.uint8 if len(masks) < 256 else np.uint16)
    areas = [int((mask > 0).sum()) for mask in masks]
    full = np.zeros(len(masks) + 1, np.int64)
    for at in sorted(range(len(masks)), key=lambda at: -areas[at]):
        inside = cv2.resize(masks[at].astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0
        full[at + 1] = np.count_nonzero(inside)
        labels[inside] = at + 1
    shown = np.bincount(labels.ravel(), minlength=len(full))
    hidden = shown < HIDDEN * full
    hidden[0] = False
    labels[hidden[labels]] = 0
    return labels

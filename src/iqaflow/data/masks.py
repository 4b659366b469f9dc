"""Masks: bool arrays (H, W), stored as COCO's run-length code; their overlap, box and pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from iqaflow.data.rows import Rle

MAX_PIXELS = 178_956_970  # no stored image may claim more: Pillow's own limit


def encode_mask(mask: np.ndarray) -> Rle:
    """Boolean mask (H, W) as COCO RLE `{size: [H, W], counts}`."""
    import cv2
    from pycocotools import mask as coco

    rle = coco.encode(cv2.transpose(np.ascontiguousarray(mask, dtype=np.uint8)).T)  # columns first, as COCO counts
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode_mask(rle: Mapping[str, Any]) -> np.ndarray:
    """COCO RLE as a boolean array (H, W). Raises ValueError for a code that does not fit its size, before any pixel is
    allocated.
    """
    height, width = (int(side) for side in rle["size"])
    runs, fault = _covering(rle["counts"], height, width, MAX_PIXELS)
    if runs is None:
        raise ValueError(fault)
    return painted(runs, height, width)


def read_mask(rle: dict[str, Any] | None, height: Any, width: Any, max_pixels: int) -> tuple[np.ndarray | None, str | None]:
    """A COCO RLE of an image of this size as bool (H, W), or None and the fault in words."""
    runs, fault = mask_runs(rle, height, width, max_pixels)
    return (None, fault) if runs is None else (painted(runs, height, width), None)


def mask_runs(rle: dict[str, Any] | None, height: Any, width: Any, max_pixels: int) -> tuple[np.ndarray | None, str | None]:
    """The run lengths of a COCO RLE, down the columns, outside first; or None and the fault in words."""
    size, counts = (rle or {}).get("size"), (rle or {}).get("counts")
    if not size or counts is None or len(size) != 2 or None in size:
        return None, "no mask is stored"
    if list(size) != [height, width]:
        return None, f"mask is {size[1]}x{size[0]} px, the image {width}x{height}"
    runs, fault = _covering(counts, height, width, max_pixels)
    return (None, "mask is empty") if runs is not None and not runs[1::2].any() else (runs, fault)


def _covering(counts: str, height: int, width: int, max_pixels: int) -> tuple[np.ndarray | None, str | None]:
    """Runs that cover the image exactly (pycocotools reads memory it never wrote when they are too short), or the fault."""
    if min(height, width) < 1 or height * width > max_pixels:
        return None, f"mask claims {height * width} pixels, the limit is {max_pixels}"
    runs = _runs(counts)
    valid = runs is not None and runs.min() >= 0 and runs.sum() == height * width
    return (runs, None) if valid else (None, "mask is not a valid run-length code")


def painted(runs: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask of run lengths, bool (H, W)."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def extent(runs: np.ndarray, height: int) -> tuple[int, tuple[int, int, int, int]]:
    """Pixels inside and the tightest box (x0, y0, x1, y1) of a mask, from its runs alone."""
    ends = np.cumsum(runs)[1::2]
    starts = ends - runs[1::2]
    kept = ends > starts
    starts, last = starts[kept], ends[kept] - 1
    crossing = bool((starts // height != last // height).any())  # it touches the lower and the upper edge
    top, bottom = (0, height) if crossing else (int((starts % height).min()), int((last % height).max()) + 1)
    return int(runs[1::2].sum()), (int(starts[0] // height), top, int(last[-1] // height) + 1, bottom)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two boolean masks; two empty masks agree."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Tightest box (x0, y0, x1, y1), right and bottom exclusive, around a mask; the whole image if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, mask.shape[1], mask.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def pixel(point: tuple[float, float], shape: tuple[int, ...]) -> tuple[int, int]:
    """Row and column of the pixel under a point (x, y), the nearest one of an image of this shape (H, W)."""
    return min(max(int(point[1]), 0), shape[0] - 1), min(max(int(point[0]), 0), shape[1] - 1)


def contains(mask: np.ndarray, point: tuple[float, float]) -> bool:
    """Whether a point (x, y) in pixels lies on a true pixel."""
    return bool(mask[pixel(point, mask.shape)])


def rectangle(size: tuple[int, int], box_xyxy: tuple[float, float, float, float]) -> np.ndarray:
    """A boolean mask (H, W) of a box in pixels; at least one pixel."""
    mask = np.zeros(size, dtype=bool)
    x0, y0, x1, y1 = (round(value) for value in box_xyxy)
    x0, y0 = min(max(x0, 0), size[1] - 1), min(max(y0, 0), size[0] - 1)
    mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    return mask


def _runs(counts: str) -> np.ndarray | None:
    """Run lengths of COCO's compressed string: 5 bits per character, each run but the first three given as its
    difference from the one before the last. None if the string is not such a code.
    """
    bits = np.frombuffer(counts.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 0x20:
        return None
    ends = np.flatnonzero(~bits & 0x20)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 8:  # more bits than any image has pixels
        return None
    shifts = 5 * (np.arange(len(bits)) - np.repeat(starts, lengths))
    values = np.add.reduceat((bits & 0x1F) << shifts, starts)
    runs = values - np.where(bits[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs

"""What every segmenter shares: thresholding a map, keeping the parts that matter, resizing, and mask arithmetic."""

from __future__ import annotations

import numpy as np


def above(map_: np.ndarray, share: float) -> np.ndarray:
    """Pixels at or above `share` of the map's maximum; never empty, and everything if the map is zero."""
    top = float(map_.max())
    return map_ >= share * top if top > 0 else np.ones(map_.shape, dtype=bool)


def keep(mask: np.ndarray, map_: np.ndarray, components: str) -> np.ndarray:
    """The connected parts of a mask that carry the map: the one with the most (`largest`), or every one with at
    least a tenth of that (`all`)."""
    from scipy.ndimage import label

    labels, count = label(mask)
    if count <= 1:
        return mask
    mass = np.bincount(labels.ravel(), weights=map_.ravel() + 1e-9, minlength=count + 1)
    mass[0] = 0
    kept = mass >= 0.1 * mass.max() if components == "all" else np.arange(count + 1) == int(mass.argmax())
    kept[0] = False
    return kept[labels]


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Float32 values (h, w) resized to (H, W): averaged when smaller, bilinear when larger."""
    import cv2

    if values.shape == size:
        return values.astype(np.float32)
    smaller = size[0] * size[1] < values.size
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(values.astype(np.float32), (size[1], size[0]), interpolation=method)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two boolean masks; two empty masks agree."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def contains(mask: np.ndarray, point: tuple[float, float]) -> bool:
    """Whether a point (x, y) in pixels lies on a true pixel."""
    row, column = (min(max(int(value), 0), side - 1) for value, side in zip(point[::-1], mask.shape, strict=True))
    return bool(mask[row, column])


def rectangle(size: tuple[int, int], box_xyxy: tuple[float, float, float, float]) -> np.ndarray:
    """A boolean mask (H, W) of a box in pixels; at least one pixel."""
    mask = np.zeros(size, dtype=bool)
    x0, y0, x1, y1 = (round(value) for value in box_xyxy)
    x0, y0 = min(max(x0, 0), size[1] - 1), min(max(y0, 0), size[0] - 1)
    mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    return mask

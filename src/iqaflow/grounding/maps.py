"""What segmenters share: thresholding a map, keeping the parts that matter, resizing."""

from __future__ import annotations

import numpy as np


def above(map_: np.ndarray, share: float) -> np.ndarray:
    """Pixels at or above `share` of the map's maximum; never empty, and everything if the map is zero."""
    top = float(map_.max())
    return map_ >= share * top if top > 0 else np.ones(map_.shape, dtype=bool)


def keep(mask: np.ndarray, map_: np.ndarray, components: str) -> np.ndarray:
    """The connected parts of a mask that carry the map: the one with the most (`largest`), or every one with at
    least a tenth of that (`all`).
    """
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

"""GrabCut started from the map, on the colours or on the quality channels (Rother et al. 2004, OpenCV)."""

from __future__ import annotations

import numpy as np

from iqaflow.calibrate.channels import quality_channels
from iqaflow.calibrate.masks import above, keep, resize

WEIGHTS = False
SLOW = True
WORK_PX = 128  # longer side on which the cut is made
OPTIONS = [
    {"high": 0.8, "middle": middle, "low": 0.1, "on": on, "components": "largest"}
    for on in ("quality", "colour")
    for middle in (0.3, 0.4, 0.5)
]


def segment(image, map_, points, negatives, box_xyxy, options) -> np.ndarray:
    """Three rounds of GrabCut. Above `high` of the map's maximum is surely inside, below `low` surely outside, and
    `middle` parts the rest into likely inside and likely outside; points are sure."""
    import cv2

    fallback = keep(above(map_, options["middle"]), map_, options["components"])
    if options["on"] == "colour":
        scale = min(1.0, WORK_PX / max(image.shape[:2]))
        size = tuple(max(1, round(side * scale)) for side in image.shape[:2])
        pixels = np.dstack([resize(image[:, :, at], size) for at in range(3)])
    else:
        pixels = quality_channels(image, WORK_PX)[:, :, :3] * 255
    pixels = np.ascontiguousarray(pixels.round().astype(np.uint8))
    small = resize(map_, pixels.shape[:2])
    labels = np.where(above(small, options["middle"]), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[small <= options["low"] * small.max()] = cv2.GC_BGD
    labels[above(small, options["high"])] = cv2.GC_FGD
    for group, sure in ((negatives, cv2.GC_BGD), (points, cv2.GC_FGD)):
        for x, y in group:
            row, column = (min(max(int(at * side / full), 0), side - 1)
                           for at, side, full in zip((y, x), small.shape, map_.shape, strict=True))
            labels[row, column] = sure
    inside = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    # five Gaussians per side are fitted: a side with fewer pixels than that, or one colour, cannot be modelled
    if min(np.count_nonzero(inside), np.count_nonzero(~inside)) < 10 or float(np.ptp(pixels, axis=(0, 1)).max()) == 0:
        return fallback
    cv2.setRNGSeed(0)  # the colour clusters start at random
    cv2.grabCut(pixels, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    found = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    mask = keep(resize(found, map_.shape) >= 0.5, map_, options["components"])
    return mask if mask.any() else fallback

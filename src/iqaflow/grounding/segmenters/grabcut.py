"""GrabCut started from the map, on colour or on the main axes of colour and quality (Rother et al. 2004, OpenCV)."""

from __future__ import annotations

import numpy as np

from iqaflow.grounding.channels import features
from iqaflow.grounding.maps import above, keep, resize
from iqaflow.grounding.segmenters import Box, Options, Points

WEIGHTS = False
SLOW = True
WORK_PX = 128  # longer side on which the cut is made
LEAST = 10  # pixels a side must have: five Gaussians are fitted to each
OPTIONS = [
    {"high": high, "middle": 0.5, "low": low, "on": on, "components": "largest"}
    for on in ("both", "colour")
    for high, low in ((0.8, 0.1), (0.95, 0.1), (0.8, 0.2))
]


def segment(
    image: np.ndarray, map_: np.ndarray, points: Points, negatives: Points, box_xyxy: Box | None, options: Options
) -> np.ndarray:
    """One round of GrabCut; more rounds gained nothing. Above `high` of the map's maximum is surely inside, below `low`
    surely outside, and `middle` parts the rest into likely inside and likely outside; points are sure.
    """
    import cv2

    fallback = keep(above(map_, options["middle"]), map_, options["components"])
    pixels = three_axes(features(image, options["on"], WORK_PX))
    small = resize(map_, pixels.shape[:2])
    labels = np.where(above(small, options["middle"]), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[small <= options["low"] * small.max()] = cv2.GC_BGD
    labels[above(small, options["high"])] = cv2.GC_FGD
    for group, sure in ((negatives, cv2.GC_BGD), (points, cv2.GC_FGD)):
        for x, y in group:
            row, column = (
                min(max(int(at * side / full), 0), side - 1)
                for at, side, full in zip((y, x), small.shape, map_.shape, strict=True)
            )
            labels[row, column] = sure
    inside = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if min(np.count_nonzero(inside), np.count_nonzero(~inside)) < LEAST or np.ptp(pixels) == 0:
        return fallback
    cv2.setRNGSeed(0)  # the clusters start at random
    cv2.grabCut(pixels, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]  # no box
    inside = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    mask = keep(resize(inside, map_.shape) >= 0.5, map_, options["components"])
    return mask if mask.any() else fallback


def three_axes(channels: np.ndarray) -> np.ndarray:
    """Uint8 (h, w, 3) from any channels (h, w, c): their first three principal axes on one scale; three stay."""
    height, width, count = channels.shape
    flat = channels.reshape(-1, count).astype(np.float64)
    if count > 3:
        flat = flat - flat.mean(0)
        axes = np.linalg.eigh(flat.T @ flat)[1][:, ::-1][:, :3]
        axes *= np.sign(axes[np.abs(axes).argmax(0), range(3)])  # a sign is arbitrary: fix it
        flat = flat @ axes
        flat = (flat - flat.min(0)) / max(float(np.ptp(flat, axis=0).max()), 1e-6)
    return np.ascontiguousarray((flat * 255).round().clip(0, 255).astype(np.uint8).reshape(height, width, 3))

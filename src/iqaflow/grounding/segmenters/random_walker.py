"""Random walker on the quality channels, seeded where the map is surely high and surely low (Grady 2006)."""

from __future__ import annotations

import warnings

import numpy as np

from iqaflow.grounding.channels import features
from iqaflow.grounding.maps import above, keep, resize
from iqaflow.grounding.segmenters import Box, Options, Points

WEIGHTS = False
SLOW = True
WORK_PX = 64  # longer side on which the walk is solved: finer than the grid of maps, and quick
INSIDE, OUTSIDE = 1, 2
OPTIONS = [
    {"high": high, "low": low, "on": on, "beta": 1000, "components": "largest"}
    for on in ("both", "quality")
    for high, low in ((0.8, 0.2), (0.7, 0.3), (0.9, 0.1))
]


def segment(
    image: np.ndarray, map_: np.ndarray, points: Points, negatives: Points, box_xyxy: Box | None, options: Options
) -> np.ndarray:
    """Pixels that a walker reaches the inside seeds from first. Seeds: map at or above `high` of its maximum and the
    positive points inside; map at or below `low` and the negative points outside.
    """
    from skimage.segmentation import random_walker

    fallback = keep(above(map_, (options["high"] + options["low"]) / 2), map_, options["components"])
    channels = features(image, options["on"], WORK_PX)
    small = resize(map_, channels.shape[:2])
    labels = np.zeros(small.shape, dtype=np.int32)
    labels[small <= options["low"] * small.max()] = OUTSIDE
    labels[above(small, options["high"])] = INSIDE
    for group, seed in ((negatives, OUTSIDE), (points, INSIDE)):
        for x, y in group:
            row, column = (
                min(max(int(at * side / full), 0), side - 1)
                for at, side, full in zip((y, x), small.shape, map_.shape, strict=True)
            )
            labels[row, column] = seed
    if {0, INSIDE, OUTSIDE} - set(np.unique(labels)) or float(channels.std()) < 1e-6:
        return fallback  # nothing to decide, or nothing to decide it by
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about solver choices and probabilities a hair outside 0..1
        chances = random_walker(
            channels, labels, beta=options["beta"], mode="cg_j", tol=1e-3, channel_axis=-1, return_full_prob=True
        )
    inside = np.nan_to_num(np.asarray(chances[0], dtype=np.float32), nan=0.0)
    mask = keep(resize(inside, map_.shape) >= 0.5, map_, options["components"])
    return mask if mask.any() else fallback

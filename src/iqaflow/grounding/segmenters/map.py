"""The map itself, cut at a share of its maximum: no image is looked at. The one to beat."""

from __future__ import annotations

import numpy as np

from iqaflow.grounding.maps import above, keep
from iqaflow.grounding.segmenters import Box, Options, Points

WEIGHTS = False
SLOW = False
OPTIONS = [
    {"threshold": threshold, "components": components}
    for components in ("largest", "all")
    for threshold in (0.5, 0.3, 0.4, 0.6, 0.7)
]


def segment(
    image: np.ndarray, map_: np.ndarray, points: Points, negatives: Points, box_xyxy: Box | None, options: Options
) -> np.ndarray:
    """Pixels at or above `threshold` of the maximum; the part with the most of the map, or `all` that matter."""
    return keep(above(map_, options["threshold"]), map_, options["components"])

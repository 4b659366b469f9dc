"""The four quarters of a view."""

import numpy as np

from iqaflow.data.masks import bounds
from iqaflow.regions.shape import Region


def of_photograph(photograph, pixels, config, workspace):
    return None


def of_view(view, window, segments, config, rng):
    found, (height, width) = [], view.shape[:2]
    for top in (0, height // 2):
        for left in (0, width // 2):
            mask = np.zeros((height, width), bool)
            mask[top : top + height // 2, left : left + width // 2] = True
            found.append(Region(mask, bounds(mask), "gray region"))
    return found

"""Oversharpening: an unsharp mask with too much of it (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import cv2
import numpy as np

from iqaflow.distortions.registry import distortion

PHRASE = "oversharpening"
NR_MIN_LEVEL = 2
FOLLOWED_BY = ("brighten",)


@distortion(levels=(2, 2.8, 4, 6, 8))
def oversharpen(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Add the detail that a 5 x 5 Gaussian removes, times an amount."""
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (5, 5), 0), -amount, 0)

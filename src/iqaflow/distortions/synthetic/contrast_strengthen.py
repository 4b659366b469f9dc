"""Contrast too high (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np

from iqaflow.distortions.pixels import scale_contrast, stretch_contrast
from iqaflow.distortions.registry import distortion

PHRASE = "overly high contrast"
NR_MIN_LEVEL = 2
FOLLOWED_BY = ("blur", "compression", "noise", "pixelate", "quantization")


@distortion(levels=(1.4, 1.7, 2.1, 2.6, 4.0))
def contrast_strengthen_scale(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Distance from the mean grey times a factor."""
    return scale_contrast(image, factor)


@distortion(levels=(2, 4, 6, 8, 10))
def contrast_strengthen_stretch(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """S-curve about each channel's mean; a factor above 1 makes it steep."""
    return stretch_contrast(image, factor)

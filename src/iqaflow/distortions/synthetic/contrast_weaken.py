"""Contrast too low (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np

from iqaflow.distortions.pixels import scale_contrast, stretch_contrast
from iqaflow.distortions.registry import distortion

PHRASE = "insufficient contrast"
NR_MIN_LEVEL = 2
FOLLOWED_BY = ("blur", "compression", "noise", "pixelate", "quantization")


@distortion(levels=(0.75, 0.60, 0.45, 0.30, 0.20))
def contrast_weaken_scale(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Distance from the mean grey times a factor."""
    return scale_contrast(image, factor)


@distortion(levels=(1.0, 0.9, 0.8, 0.6, 0.4))
def contrast_weaken_stretch(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """The curve of contrast_strengthen_stretch; a factor of 1 or less makes it flat."""
    return stretch_contrast(image, factor)

"""Darken: lower V of HSV, or all of RGB, by a shift or by a power above 1 (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np

from iqaflow.distortions.pixels import GREYS, map_channels, map_hsv, map_value
from iqaflow.distortions.registry import distortion

PHRASE = "insufficient brightness"
NR_MIN_LEVEL = 2
FOLLOWED_BY = ("blur", "compression", "noise", "pixelate", "quantization")


@distortion(levels=(0.1, 0.2, 0.3, 0.4, 0.5))
def brightness_darken_shift_HSV(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """V - shift, on the 0..1 scale."""
    return map_value(image, GREYS - 255 * shift)


@distortion(levels=(0.10, 0.15, 0.20, 0.27, 0.35))
def brightness_darken_shift_RGB(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """R, G and B - shift, on the 0..1 scale."""
    return map_channels(image, GREYS - 255 * shift)


@distortion(levels=(1.5, 1.8, 2.2, 2.7, 3.5))
def brightness_darken_gamma_HSV(image: np.ndarray, gamma: float, rng: np.random.Generator) -> np.ndarray:
    """V to the power of gamma, on the 0..1 scale."""
    return map_hsv(image, value=255 * (GREYS / 255) ** gamma)


@distortion(levels=(1.4, 1.7, 2.1, 2.6, 3.2))
def brightness_darken_gamma_RGB(image: np.ndarray, gamma: float, rng: np.random.Generator) -> np.ndarray:
    """R, G and B to the power of gamma, on the 0..1 scale."""
    return map_channels(image, 255 * (GREYS / 255) ** gamma)

"""Brighten: raise V of HSV, or all of RGB, by a shift or by a power below 1 (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np

from iqaflow.distortions.pixels import GREYS, map_channels, map_hsv, map_value
from iqaflow.distortions.registry import distortion

PHRASE = "overly high brightness"
NR_MIN_LEVEL = 2
FOLLOWED_BY = ("blur", "compression", "noise", "pixelate", "quantization")


@distortion(levels=(0.1, 0.2, 0.3, 0.4, 0.5))
def brightness_brighten_shift_HSV(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """V + shift, on the 0..1 scale."""
    return map_value(image, GREYS + 255 * shift)


@distortion(levels=(0.10, 0.15, 0.20, 0.27, 0.35))
def brightness_brighten_shift_RGB(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """R, G and B + shift, on the 0..1 scale."""
    return map_channels(image, GREYS + 255 * shift)


@distortion(levels=(0.70, 0.58, 0.47, 0.36, 0.25))
def brightness_brighten_gamma_HSV(image: np.ndarray, gamma: float, rng: np.random.Generator) -> np.ndarray:
    """V to the power of gamma, on the 0..1 scale."""
    return map_hsv(image, value=255 * (GREYS / 255) ** gamma)


@distortion(levels=(0.80, 0.70, 0.60, 0.45, 0.30))
def brightness_brighten_gamma_RGB(image: np.ndarray, gamma: float, rng: np.random.Generator) -> np.ndarray:
    """R, G and B to the power of gamma, on the 0..1 scale."""
    return map_channels(image, 255 * (GREYS / 255) ** gamma)

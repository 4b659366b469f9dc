"""Saturation too high (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np

from iqaflow.distortions.pixels import GREYS, map_hsv, scale_chroma
from iqaflow.distortions.registry import distortion

PHRASE = "overly high saturation"
NR_MIN_LEVEL = 2
FOLLOWED_BY = ("blur", "compression", "noise", "oversharpen", "pixelate", "quantization")


@distortion(levels=(3, 6, 12, 20, 64))
def saturate_strengthen_HSV(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """S of HSV times a scale."""
    return map_hsv(image, saturation=GREYS * scale)


@distortion(levels=(2, 3, 5, 8, 16))
def saturate_strengthen_YCrCb(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Cr and Cb times a scale, about 128."""
    return scale_chroma(image, scale)

"""Saturation too low (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np

from iqaflow.distortions.pixels import GREYS, map_hsv, scale_chroma
from iqaflow.distortions.registry import distortion

PHRASE = "insufficient saturation"
NR_MIN_LEVEL = 2
FOLLOWED_BY = ("blur", "compression", "noise", "oversharpen", "pixelate", "quantization")


@distortion(levels=(0.70, 0.55, 0.40, 0.20, 0.0))
def saturate_weaken_HSV(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """S of HSV times a scale."""
    return map_hsv(image, saturation=GREYS * scale)


@distortion(levels=(0.6, 0.4, 0.2, 0.1, 0.0))
def saturate_weaken_YCrCb(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Cr and Cb times a scale, about 128."""
    return scale_chroma(image, scale)

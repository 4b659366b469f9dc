"""Pixelation: box mean down, nearest neighbour up (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from iqaflow.distortions.registry import distortion

PHRASE = "pixelation"
NR_MIN_LEVEL = 1
FOLLOWED_BY = (
    "brighten",
    "contrast_strengthen",
    "contrast_weaken",
    "darken",
    "noise",
    "oversharpen",
    "quantization",
    "saturate_strengthen",
    "saturate_weaken",
)


@distortion(levels=(0.5, 0.4, 0.3, 0.25, 0.2), blocks=True)
def pixelate(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Side lengths times a scale, and back."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((int(width * scale), int(height * scale)), Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.NEAREST))

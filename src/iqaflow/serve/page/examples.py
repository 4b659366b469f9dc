"""Photographs to try, made when the page starts from those inside scikit-image: nothing is downloaded or committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def make(folder: Path) -> dict[str, Path]:
    """PNG files: `clean`, the same `noisy` in one part, and another one `pixelated` in one part, so that regions show."""
    import skimage

    from iqaflow import distortions
    from iqaflow.data.images import encode_png

    def spoilt(pixels: np.ndarray, name: str) -> np.ndarray:
        return distortions.apply_in_mask(pixels, _ellipse(*pixels.shape[:2]), name, 5, np.random.default_rng(0))

    samples: Any = skimage.data
    coffee, cat = samples.coffee(), samples.chelsea()
    pictures = {
        "clean": ("coffee.png", coffee),
        "noisy": ("coffee, partly noisy.png", spoilt(coffee, "noise_gaussian_RGB")),
        "pixelated": ("cat, partly pixelated.png", spoilt(cat, "pixelate")),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for file, pixels in pictures.values():
        (folder / file).write_bytes(encode_png(pixels))
    return {key: folder / file for key, (file, _) in pictures.items()}


def _ellipse(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return ((x / width - 0.3) / 0.26) ** 2 + ((y / height - 0.5) / 0.42) ** 2 < 1

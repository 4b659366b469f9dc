"""Compression: real codecs, written to memory and read back (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from iqaflow.distortions.registry import distortion

PHRASE = "compression"
NR_MIN_LEVEL = 1
FOLLOWED_BY = (
    "blur",
    "brighten",
    "contrast_strengthen",
    "contrast_weaken",
    "darken",
    "noise",
    "saturate_strengthen",
    "saturate_weaken",
)


@distortion(levels=(25, 18, 12, 8, 5), blocks=True)
def compression_jpeg(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG with 4:2:0 chroma; quality on libjpeg's scale."""
    return _round_trip(image, "JPEG", quality=int(quality + 0.5))


@distortion(levels=(29, 27.5, 26, 24.5, 23), blocks=True)
def compression_jpeg_2000(image: np.ndarray, psnr: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG 2000 at a given PSNR in dB."""
    return _round_trip(image, "JPEG2000", quality_mode="dB", quality_layers=[psnr])


def _round_trip(image: np.ndarray, format: str, **options: Any) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    with Image.open(file, formats=[format]) as decoded:
        return np.array(decoded.convert("RGB"))

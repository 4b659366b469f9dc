"""Noise: six kinds, all drawn from the generator given (DepictQA-Wild, table of distortions).

Published strengths are on the 0..1 scale of intensity.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from iqaflow.distortions.pixels import GREYS, to_uint8
from iqaflow.distortions.registry import distortion

PHRASE = "noise"
NR_MIN_LEVEL = 1
FOLLOWED_BY = (
    "blur",
    "brighten",
    "compression",
    "contrast_strengthen",
    "contrast_weaken",
    "darken",
    "oversharpen",
    "pixelate",
    "saturate_strengthen",
    "saturate_weaken",
)

# YCrCb (BT.601, full range) to RGB
YCRCB_TO_RGB = np.array([[1, 1.403, 0], [1, -0.714, -0.344], [1, 0, 1.773]], np.float32)
CELLS, OPEN = 4096, 255  # of photon noise: first bits of a draw, and a mark that no count reaches


@distortion(levels=(0.05, 0.10, 0.15, 0.20, 0.25))
def noise_gaussian_RGB(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Additive Gaussian noise, independent in R, G and B; sigma."""
    return cv2.add(image, _gaussian(image.shape, sigma, rng), dtype=cv2.CV_8U)


@distortion(levels=((0.05, 0.05), (0.06, 0.087), (0.07, 0.133), (0.08, 0.188), (0.09, 0.252)))
def noise_gaussian_YCrCb(image: np.ndarray, value: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Additive Gaussian noise, stronger in chroma; (sigma of Y, sigma of Cr and Cb)."""
    luma, chroma = value
    noise = _gaussian(image.shape, 1, rng) * np.array([luma, chroma, chroma], np.float32)
    return cv2.add(image, cv2.transform(noise, YCRCB_TO_RGB), dtype=cv2.CV_8U)


@distortion(levels=(0.14, 0.21, 0.28, 0.35, 0.42))
def noise_speckle(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Multiplicative Gaussian noise; scale relative to the pixel."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(scale)
    noise += 1
    return cv2.multiply(image, noise, dtype=cv2.CV_8U)


@distortion(levels=(0.08, 0.11, 0.14, 0.18, 0.22))
def noise_spatially_correlated(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, then a 3 x 3 mean of the noisy image; sigma before the mean."""
    noisy = cv2.add(image, _gaussian(image.shape, sigma, rng), dtype=cv2.CV_32F)
    return cv2.convertScaleAbs(np.maximum(cv2.blur(noisy, (3, 3)), 0))


@distortion(levels=(80, 60, 40, 25, 15))
def noise_poisson(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Photon noise; photons counted at full intensity.

    Counts come from a uniform draw through the inverse of the distribution. Its first 12 bits are looked up, and only
    where they leave the count open (one pixel in a hundred) the rest is drawn and searched: exact, and five times as
    fast as drawing each count.
    """
    table, steps = _photon_table(photons)
    draw = rng.integers(0, CELLS, image.shape, dtype=np.uint16)
    cell = image.astype(np.int32)
    cell *= CELLS
    cell += draw
    counts = table.ravel()[cell]
    open_ = np.flatnonzero(counts == OPEN)
    grey = image.ravel()[open_].astype(np.int64)
    uniform = (draw.ravel()[open_] + rng.random(open_.size)) / CELLS
    places = np.searchsorted((np.arange(256)[:, None] + steps).ravel(), grey + uniform, side="right")
    counts.ravel()[open_] = places - grey * steps.shape[1]
    return cv2.LUT(counts, to_uint8(GREYS * (255 / photons)).reshape(1, 256))


@functools.lru_cache(maxsize=8)
def _photon_table(photons: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts by grey and by 1 / CELLS of the uniform draw, OPEN where a cell holds several (uint8, 256 x CELLS); and
    the cumulated probabilities of the counts that do not saturate (256 x counts).
    """
    from scipy.special import pdtr

    steps = pdtr(np.arange(np.ceil(photons)), GREYS[:, None] * (photons / 255))
    place = np.ceil(steps * CELLS).astype(int) + np.arange(256)[:, None] * (CELLS + 1)
    reached = np.bincount(place.ravel(), minlength=256 * (CELLS + 1)).reshape(256, -1).cumsum(axis=1)
    return np.where(reached[:, 1:] == reached[:, :-1], reached[:, :-1], OPEN).astype(np.uint8), steps


@distortion(levels=(0.01, 0.03, 0.05, 0.07, 0.10))
def noise_impulse(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Salt and pepper; share of channel values that are set, half to 0 and half to 255."""
    draw = rng.random(image.shape, dtype=np.float32)
    result = image.copy()
    result[draw < amount / 2] = 0
    result[draw >= 1 - amount / 2] = 255
    return result


def _gaussian(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= np.float32(255 * sigma)
    return noise

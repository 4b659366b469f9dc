"""Blur: six ways to spread a pixel over its neighbours (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from iqaflow.distortions.pixels import to_uint8
from iqaflow.distortions.registry import distortion

PHRASE = "blur"
NR_MIN_LEVEL = 1
FOLLOWED_BY = (
    "brighten",
    "compression",
    "contrast_strengthen",
    "contrast_weaken",
    "darken",
    "noise",
    "quantization",
    "saturate_strengthen",
    "saturate_weaken",
)


@distortion(levels=(1, 2, 3, 4, 5))
def blur_gaussian(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur; sigma in pixels."""
    size = 2 * int(4 * sigma + 0.5) + 1  # cut at 4 sigma
    return cv2.GaussianBlur(image, (size, size), sigma, borderType=cv2.BORDER_REPLICATE)


@distortion(levels=((5, 3), (10, 5), (15, 7), (15, 9), (20, 12)))
def blur_motion(image: np.ndarray, value: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """One-sided line kernel with Gaussian weights; (radius, sigma) in pixels, angle uniform in -90..90 degrees."""
    radius, sigma = value
    steps = np.arange(2 * int(radius + 0.5) + 1)
    angle = math.radians(rng.uniform(-90, 90))
    rows = np.ceil(steps * math.sin(angle) - 0.5).astype(int)
    columns = np.ceil(steps * math.cos(angle) - 0.5).astype(int)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    top, left = rows.min(), columns.min()
    kernel = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1), np.float32)
    np.add.at(kernel, (rows - top, columns - left), weights / weights.sum())
    anchor = (int(-left), int(-top))
    return cv2.filter2D(image, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)


@distortion(levels=((0.7, 1, 1), (0.9, 2, 1), (1.2, 2, 2), (1.4, 3, 2), (1.6, 4, 2)))
def blur_glass(image: np.ndarray, value: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Blur, shuffle pixels locally, blur again; (sigma, largest shift in pixels, rounds)."""
    sigma, shift, rounds = value
    image = blur_gaussian(image, sigma, rng)
    for _ in range(int(rounds + 0.5)):
        image = _shuffle(image, shift, rng)
    return blur_gaussian(image, sigma, rng)


@distortion(levels=(2, 3, 4, 6, 8))
def blur_lens(image: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: mean over a disc; radius in pixels."""
    reach = np.arange(-int(radius), int(radius) + 1)
    disc = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.float32)
    return cv2.filter2D(image, -1, disc / disc.sum())


@distortion(levels=(1.02, 1.06, 1.10, 1.14, 1.20))
def blur_zoom(image: np.ndarray, largest: float, rng: np.random.Generator) -> np.ndarray:
    """Mean of the image and of its centre zoomed by 1, 1.02, 1.04 ... up to the largest factor."""
    height, width = image.shape[:2]
    source = image.astype(np.float32)
    total = 2 * source  # the published mean counts the image itself and the zoom by 1
    count = int((largest - 1) / 0.02 + 0.5)
    for step in range(1, count + 1):
        zoom = 1 + 0.02 * step
        to_source = np.zeros((2, 3))
        for axis, side in enumerate((width, height)):
            crop = math.ceil(side / zoom)  # the crop's first and last pixels land on those of its zoomed copy
            to_source[axis, axis] = (crop - 1) / (round(crop * zoom) - 1)
            to_source[axis, 2] = (side - crop) // 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        total += cv2.warpAffine(source, to_source, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return to_uint8(total / (count + 2))


@distortion(levels=(1, 2, 3, 4, 5))
def blur_jitter(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Shuffle pixels locally, once; largest shift in pixels."""
    return _shuffle(image, shift, rng)


def _shuffle(image: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Scan from the last pixel to the first; each takes the value that a random neighbour has at that moment.

    A neighbour scanned earlier has already taken another's value, so a source is found by following such links.
    Following all at once, each step doubling their length, equals the sequential scan. A frame as wide as the
    largest shift keeps its values.
    """
    height, width = image.shape[:2]
    margin = math.ceil(shift)
    box = (slice(margin + 1, height - margin + 1), slice(margin + 1, width - margin + 1))
    source = np.arange(height * width).reshape(height, width)
    place = source[box]
    moves = np.floor(rng.random((2, *place.shape), dtype=np.float32) * (2 * shift) - shift).astype(np.int64)
    np.minimum(moves, margin - 1, out=moves)
    scanned = np.zeros((height, width), bool)
    scanned[box] = True

    taken = place + moves[0] * width + moves[1]
    linked = np.zeros((height, width), bool)
    linked[box] = scanned.ravel()[taken] & (taken > place)
    source[box] = taken
    origin, open_ = source.ravel(), linked.ravel()
    todo = np.flatnonzero(open_)
    while todo.size:
        via = origin[todo]
        origin[todo], open_[todo] = origin[via], open_[via]
        todo = todo[open_[todo]]
    return image.reshape(-1, 3)[origin].reshape(image.shape)

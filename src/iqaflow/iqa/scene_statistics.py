"""Natural scene statistics of an image: 36 BRISQUE-style features and 14 of colour and flatness. About 1 ms at 112 px.

Pristine photographs, locally normalised, follow a nearly Gaussian law, and distortions bend it in ways of their own
(Mittal, Moorthy and Bovik, "No-Reference Image Quality Assessment in the Spatial Domain", IEEE TIP 2012). That paper
looks at luminance only, so the 14 further features describe what it cannot see: colour, exposure, flat areas, blocks.
"""

from __future__ import annotations

import functools

import numpy as np

SHIFTS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # neighbours: horizontal, vertical, both diagonals
COUNT = 50


def mscn(grey: np.ndarray) -> np.ndarray:
    """Mean-subtracted, contrast-normalised coefficients of a float image (H, W) on the 0..255 scale."""
    import cv2

    grey = np.asarray(grey, dtype=np.float32)
    mean = cv2.GaussianBlur(grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REFLECT_101)
    square = cv2.GaussianBlur(grey * grey, (7, 7), 7 / 6, borderType=cv2.BORDER_REFLECT_101)
    return (grey - mean) / (np.sqrt(np.abs(square - mean * mean)) + 1)


@functools.cache
def _gamma_table() -> tuple[np.ndarray, np.ndarray]:
    """Shapes .2..10 of a generalised Gaussian and E[|x|]^2 / E[x^2] of each, which rises with the shape."""
    from scipy.special import gamma

    shapes = np.arange(0.2, 10.001, 0.001)
    return shapes, gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))


def shape_of(ratio: float) -> float:
    """The generalised Gaussian's shape whose E[|x|]^2 / E[x^2] is `ratio` (moment matching); 2 is a Gaussian."""
    shapes, ratios = _gamma_table()
    return float(np.interp(ratio, ratios, shapes))


def symmetric_fit(x: np.ndarray) -> tuple[float, float]:
    """Shape and variance of a generalised Gaussian fitted to `x`; flat input gives the heaviest peak."""
    variance = float(np.mean(x * x))
    return shape_of(float(np.mean(np.abs(x))) ** 2 / max(variance, 1e-12)), variance


def asymmetric_fit(x: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, left and right variance of an asymmetric generalised Gaussian fitted to `x`."""
    from scipy.special import gamma

    square, negative, positive = x * x, x < 0, x > 0
    total = float(square.sum())
    left_total = float(square[negative].sum())
    left_variance = left_total / max(int(np.count_nonzero(negative)), 1)
    right_variance = (total - left_total) / max(int(np.count_nonzero(positive)), 1)
    ratio = np.sqrt(left_variance) / max(np.sqrt(right_variance), 1e-6)
    r = float(np.mean(np.abs(x))) ** 2 / max(total / x.size, 1e-12)
    shape = shape_of(r * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2)
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (np.sqrt(right_variance) - np.sqrt(left_variance)) * scale * gamma(2 / shape) / gamma(1 / shape)
    return shape, float(mean), left_variance, right_variance


def luminance_features(grey: np.ndarray) -> np.ndarray:
    """The 36 features of BRISQUE: at full and half size, the fit of MSCN (2) and of its four neighbour products (16).
    Variances enter as logarithms, so that a linear model can use them over their whole range.
    """
    import cv2

    features: list[float] = []
    for scale in (1, 2):
        if scale == 2:
            height, width = grey.shape
            grey = cv2.resize(grey, (max(8, width // 2), max(8, height // 2)), interpolation=cv2.INTER_AREA)
        normal = mscn(grey)
        shape, variance = symmetric_fit(normal)
        features += [shape, np.log(variance + 1e-4)]
        for down, across in SHIFTS:
            shape, mean, left, right = asymmetric_fit(normal * np.roll(normal, (down, across), (0, 1)))
            features += [shape, mean, np.log(left + 1e-4), np.log(right + 1e-4)]
    return np.array(features)


def colour_features(image: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """14 features: exposure (mean, spread, dark and light ends of luminance; clipped shares), colour (mean and spread
    of saturation, spread of the two opponent channels), flatness (share of equal neighbours, grey levels in use, size
    of the gradient and of the Laplacian).
    """
    import cv2

    red, green, blue = cv2.split(image.astype(np.float32))
    highest, lowest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    saturation = (highest - lowest) / np.maximum(highest, 1)
    across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
    levels = np.bincount(np.rint(grey).astype(np.int64).ravel(), minlength=256)
    dark, light = np.searchsorted(np.cumsum(levels), (0.01 * grey.size, 0.99 * grey.size))
    return np.array(
        [
            grey.mean(),
            grey.std(),
            dark,
            light,
            (lowest <= 1).mean(),
            (highest >= 254).mean(),
            saturation.mean(),
            saturation.std(),
            np.log1p((red - green).std()),
            np.log1p(((red + green) / 2 - blue).std()),
            ((across == 0).mean() + (down == 0).mean()) / 2,
            np.log1p(np.count_nonzero(levels)),
            np.log1p((across.mean() + down.mean()) / 2),
            np.log1p(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()),
        ]
    )


def features(image: np.ndarray) -> np.ndarray:
    """All 50 features of a uint8 RGB image (H, W, 3)."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.concatenate([luminance_features(grey), colour_features(image, grey)])

"""How far an image's statistics lie from those of good photographs: a quality measure that never saw an opinion.

After NIQE (Mittal, Soundararajan and Bovik, "Making a Completely Blind Image Quality Analyzer", IEEE SPL 2013): the 36 features
of BRISQUE on patches, one Gaussian over the sharp patches of good photographs, one over the patches of the image, and the
distance between the two. The features, the photographs and so the values are not those of the published program.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from iqaflow.iqa.scene_statistics import luminance_features

PATCH = 96  # pixels
SHARP = 0.75  # of the sharpest patch: flatter ones of a good photograph say nothing about it


class Gaussian(NamedTuple):
    """Mean (36,) and covariance (36, 36) of patch features."""

    mean: np.ndarray
    covariance: np.ndarray


def fit(photographs: Iterable[np.ndarray]) -> Gaussian:
    """The Gaussian of good photographs, uint8 RGB (H, W, 3), by their sharp patches. Raises ValueError without any patch."""
    features = []
    for image in photographs:
        patches = _patches(image)
        sharpest = max((patch.std() for patch in patches), default=0.0)
        features += [luminance_features(patch) for patch in patches if patch.std() >= SHARP * sharpest]
    if len(features) < 2:
        raise ValueError(f"photographs of at least {PATCH}x{PATCH} px are needed to learn what good ones look like")
    return _gaussian(np.stack(features))


def distance(image: np.ndarray, good: Gaussian) -> float:
    """How far an image uint8 RGB (H, W, 3) lies from good photographs; lower is better."""
    own = _gaussian(np.stack([luminance_features(patch) for patch in _patches(image)]))
    apart = own.mean - good.mean
    return float(np.sqrt(apart @ np.linalg.pinv((own.covariance + good.covariance) / 2) @ apart))


def _gaussian(features: np.ndarray) -> Gaussian:
    return Gaussian(
        features.mean(0),
        np.atleast_2d(np.cov(features, rowvar=False)) if len(features) > 1 else np.zeros((features.shape[1],) * 2),
    )


def _patches(image: np.ndarray) -> list[np.ndarray]:
    """Grey patches, side by side; a smaller image is one patch."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = grey.shape
    if min(height, width) < PATCH:
        return [grey]
    return [
        grey[top : top + PATCH, left : left + PATCH]
        for top in range(0, height - PATCH + 1, PATCH)
        for left in range(0, width - PATCH + 1, PATCH)
    ]

"""The full-reference score behind every synthetic label: how much of the photograph's structure and colour survives.

Gradient and chromaticity similarity of MDSI (Nafchi et al. 2016, "Mean deviation similarity index"), pooled by the mean
so that a region has a score too, and mapped to 0..1.
"""

from __future__ import annotations

import numpy as np

SOURCE = "mdsi-similarity-mean/1"
# MDSI's constants for 8-bit values (gradient, fused gradient, chromaticity) and its weight of the gradient part
C1, C2, C3, GRADIENT_SHARE = 140.0, 55.0, 550.0, 0.6


def similarity(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Per-pixel similarity (H, W), about 0..1, of two uint8 RGB images of one size; 1 where nothing changed."""
    light_r, *chroma_r = _opponent(reference)
    light_d, *chroma_d = _opponent(image)
    grad_r, grad_d, fused = _gradient(light_r), _gradient(light_d), _gradient((light_r + light_d) / 2)
    gradient = _like(grad_r, grad_d, C1) + _like(grad_d, fused, C2) - _like(grad_r, fused, C2)
    across = sum(r * d for r, d in zip(chroma_r, chroma_d, strict=True))
    within = sum(r * r + d * d for r, d in zip(chroma_r, chroma_d, strict=True))
    return GRADIENT_SHARE * gradient + (1 - GRADIENT_SHARE) * (2 * across + C3) / (within + C3)


def score(values: np.ndarray) -> float:
    """Similarities of an image or a region as one score, 0 (ruined) .. 1 (untouched).

    The curve spreads the usual range, .75 to 1, over the scale, so that all five words occur often.
    """
    return float(np.clip((values.mean() - 0.5) / 0.5, 0.0, 1.0) ** 4)


def _opponent(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weights = np.array([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]], dtype=np.float32)
    return tuple(np.moveaxis(image.astype(np.float32) @ weights.T, -1, 0))


def _gradient(light: np.ndarray) -> np.ndarray:
    import cv2

    kernel = np.array([[1, 0, -1]] * 3, dtype=np.float32) / 3  # Prewitt
    return np.hypot(*(cv2.filter2D(light, -1, k, borderType=cv2.BORDER_REPLICATE) for k in (kernel, kernel.T)))


def _like(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    return (2 * a * b + constant) / (a * a + b * b + constant)

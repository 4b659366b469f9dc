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
    of_reference, of_image = _opponent(reference), _opponent(image)
    steps_r, steps_d = _steps(of_reference[0]), _steps(of_image[0])
    # differentiation is linear: the gradient of the mean of both images needs no pass of its own
    fused = _length(*((r + d) / 2 for r, d in zip(steps_r, steps_d, strict=True)))
    grad_r, grad_d = _length(*steps_r), _length(*steps_d)
    gradient = _like(grad_r, grad_d, C1) + _like(grad_d, fused, C2) - _like(grad_r, fused, C2)
    (h_r, m_r), (h_d, m_d) = of_reference[1:], of_image[1:]
    across = h_r * h_d + m_r * m_d
    within = h_r * h_r + h_d * h_d + m_r * m_r + m_d * m_d
    return GRADIENT_SHARE * gradient + (1 - GRADIENT_SHARE) * (2 * across + C3) / (within + C3)


def score(values: np.ndarray) -> float:
    """Similarities of an image or a region as one score, 0 (ruined) .. 1 (untouched).

    The curve spreads the usual range, .75 to 1, over the scale, so that all five words occur often.
    """
    return float(np.clip((values.mean() - 0.5) / 0.5, 0.0, 1.0) ** 4)


def _opponent(image: np.ndarray) -> tuple[np.ndarray, ...]:
    """Luminance and the two opponent chromaticities, float32 (H, W) each."""
    import cv2

    weights = np.array([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]], dtype=np.float32)
    return tuple(cv2.split(cv2.transform(image.astype(np.float32), weights)))


def _steps(light: np.ndarray) -> list[np.ndarray]:
    """Prewitt derivatives across and down."""
    import cv2

    side, mean = np.array([1, 0, -1], dtype=np.float32), np.full(3, 1 / 3, dtype=np.float32)
    return [cv2.sepFilter2D(light, -1, x, y, borderType=cv2.BORDER_REPLICATE) for x, y in ((side, mean), (mean, side))]


def _length(across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Not cv2.magnitude: its last bit depends on where the arrays lie in memory."""
    return np.sqrt(across * across + down * down)


def _like(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    return (2 * a * b + constant) / (a * a + b * b + constant)

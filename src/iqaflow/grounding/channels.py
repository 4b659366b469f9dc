"""What segmenters group pixels by: colour, where objects differ, and quality channels, where distortions differ.

A distorted region is often not an object, so beside colour there are local statistics: log noise energy, log
sharpness, flatness (blocks and lost gradations), lightness and chroma. Calibration chooses.
"""

from __future__ import annotations

import numpy as np

from iqaflow.grounding.maps import resize

NAMES = ("noise", "sharpness", "flatness", "lightness", "chroma")
# the least range that counts as a difference, so that a channel without content is not amplified into one
LEAST_RANGE = (1.0, 1.0, 0.3, 0.2, 0.2)
_NOISE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32) / 6.0  # Immerkaer 1996: blind to edges


def features(image: np.ndarray, on: str, longest_px: int) -> np.ndarray:
    """Float32 (h, w, c) in 0..1 of a uint8 RGB image (H, W, 3), reduced until its longer side has `longest_px`: the
    `colour` (CIE Lab, 3), the `quality` channels (5), or `both` (8).
    """
    if on == "quality":
        return quality_channels(image, longest_px)
    colour = colour_channels(image, longest_px)
    return colour if on == "colour" else np.dstack([colour, quality_channels(image, longest_px)])


def colour_channels(image: np.ndarray, longest_px: int) -> np.ndarray:
    """Float32 (h, w, 3), CIE Lab in 0..1: lightness and both colour axes on one scale."""
    import cv2

    small = np.dstack([resize(image[:, :, at], _reduced(image.shape[:2], longest_px)) for at in range(3)])
    lab = cv2.cvtColor(small / 255, cv2.COLOR_RGB2LAB)  # 0..100, -128..127, -128..127
    return (lab + np.array([0, 128, 128], np.float32)) / np.array([100, 255, 255], np.float32)


def quality_channels(image: np.ndarray, longest_px: int | None = None) -> np.ndarray:
    """Float32 (h, w, 5), each channel in 0..1, from a uint8 RGB image (H, W, 3).

    Measured at native resolution, since noise does not survive resizing, then averaged down until the longer side
    has `longest_px` (never enlarged).
    """
    import cv2

    pixels = image.astype(np.float32)
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    height, width = luma.shape
    sigma = max(1.5, 0.02 * min(height, width))

    def local(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)

    def gradient(values: np.ndarray) -> np.ndarray:
        dy, dx = np.gradient(values) if min(values.shape) > 1 else (np.zeros_like(values),) * 2
        return np.abs(dx) + np.abs(dy)

    noise = np.log(local(np.abs(cv2.filter2D(luma, cv2.CV_32F, _NOISE, borderType=cv2.BORDER_REFLECT))) + 0.5)
    coarse = cv2.GaussianBlur(luma, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT)
    sharpness = np.log(local(gradient(luma)) + 0.5) - np.log(local(gradient(coarse)) + 0.5)
    flat = np.zeros_like(luma)
    steps = np.abs(np.diff(pixels, axis=1)).max(2) < 1
    flat[:, :-1] = steps  # the right neighbour has the same colour
    chroma = pixels.max(2) - pixels.min(2)
    size = _reduced((height, width), longest_px or max(height, width))
    channels = np.dstack(
        [resize(channel, size) for channel in (noise, sharpness, local(flat), local(luma) / 255, local(chroma) / 255)]
    )
    low, high = np.percentile(channels, (2, 98), axis=(0, 1))
    spread = np.maximum(high - low, LEAST_RANGE)
    return np.clip((channels - low) / spread, 0, 1).astype(np.float32)


def _reduced(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    scale = min(1.0, longest_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

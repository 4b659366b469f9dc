"""Small pixel operations that several categories share."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageEnhance

GREYS = np.arange(256, dtype=np.float64)  # every value a uint8 channel can have


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Round half up (so that evenly spaced values stay evenly spaced) and clip to 0..255."""
    return np.clip(np.floor(np.asarray(values) + 0.5), 0, 255).astype(np.uint8)


def map_channels(image: np.ndarray, *curves: np.ndarray) -> np.ndarray:
    """Map channels by curves of 256 values on the 0..255 scale: one for all channels, or three."""
    table = to_uint8(np.stack(curves, axis=-1))
    return cv2.LUT(image, table[None] if len(curves) == 3 else table.reshape(1, 256))


def map_value(image: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Map V of real-valued HSV by a curve of 256 values, at constant hue and saturation.

    RGB is proportional to V there, so this is one gain per pixel: exact, and cheaper than going through HSV.
    V may leave 0..255; the result is clipped.
    """
    red, green, blue = cv2.split(image)
    value = cv2.max(cv2.max(red, green), blue)
    gain = np.maximum(curve, 0) / np.maximum(GREYS, 1)
    gain = cv2.LUT(value, gain.astype(np.float32).reshape(1, 256))
    result = cv2.multiply(image, cv2.merge([gain] * 3), dtype=cv2.CV_8U)
    if curve[0] > 0:  # black has no gain: it becomes grey
        result[value == 0] = to_uint8(curve[0])
    return result


def scale_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Scale the distance of every value from the image's mean grey."""
    return np.array(ImageEnhance.Contrast(Image.fromarray(image)).enhance(factor))


def stretch_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Per channel 1 / (1 + (mean / x) ** factor): an S-curve about the mean, steep for large factors.

    A channel that is 0 everywhere has no mean to turn about and stays 0.
    """
    curves = []
    for mean in cv2.mean(image)[:3]:
        if mean == 0:
            curves.append(GREYS)
            continue
        ratio = mean / np.maximum(GREYS, 1e-9)
        curves.append(255 / (1 + ratio**factor))
    return map_channels(image, *curves)


def map_hsv(image: np.ndarray, saturation: np.ndarray = GREYS, value: np.ndarray = GREYS) -> np.ndarray:
    """Map S and V of 8-bit HSV, as published, by curves of 256 values on the 0..255 scale."""
    hsv = map_channels(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), GREYS, saturation, value)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def scale_chroma(image: np.ndarray, scale: float) -> np.ndarray:
    """Multiply Cr and Cb of 8-bit YCrCb about their neutral value, 128, and cut off what follows the point.

    Cutting off, not rounding, is as published: half a step of chroma is more than one of blue.
    """
    chroma = np.floor(128 + (GREYS - 128).astype(np.float32) * np.float32(scale))
    ycrcb = map_channels(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb), GREYS, chroma, chroma)
    return cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB)

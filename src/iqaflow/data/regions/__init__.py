"""Regions of a photograph: superpixel masks, their boxes, and a plain phrase a person would understand."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Region:
    """A part of an image. `mask` (H, W) bool; `box` x0, y0, x1, y1 in pixels, right and bottom exclusive."""

    mask: np.ndarray
    box: tuple[int, int, int, int]
    label: str

    @property
    def area(self) -> float:
        return float(self.mask.mean())


def superpixels(image: np.ndarray, segments: int, area: tuple[float, float]) -> list[Region]:
    """Regions of an undistorted uint8 RGB image by SLIC (Achanta et al. 2012), those whose share of the image lies
    within `area`, ordered from top left."""
    from skimage.segmentation import slic

    labels = slic(image, n_segments=segments, compactness=12, sigma=1, start_label=0, channel_axis=-1, max_num_iter=5)
    regions = []
    for value in range(labels.max() + 1):
        mask = labels == value
        if area[0] <= mask.mean() <= area[1]:
            regions.append(Region(mask, bounds(mask), f"{colour(image[mask])} region"))
    return regions


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Tightest box (x0, y0, x1, y1), right and bottom exclusive, around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def colour(pixels: np.ndarray) -> str:
    """A plain colour name for uint8 RGB pixels (N, 3), such as `dark green`."""
    red, green, blue = np.median(pixels, axis=0) / 255.0
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if value < 0.15:
        return "black"
    if saturation < 0.18:
        return "white" if value > 0.85 else "light gray" if value > 0.6 else "gray" if value > 0.35 else "dark gray"
    names = ((20, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (200, "cyan"), (260, "blue"), (300, "purple"),
             (340, "pink"), (361, "red"))
    name = next(name for limit, name in names if hue * 360 < limit)
    if name in ("orange", "red") and value < 0.6 and hue * 360 < 45:
        name = "brown"
    return f"{'dark ' if value < 0.4 else 'light ' if value > 0.8 and saturation < 0.45 else ''}{name}"

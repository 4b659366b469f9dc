"""Pictures small enough for a browser, with regions drawn as `iqaflow assess --overlay` draws them; and back from a click to the
photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow.draw import marks, overlay

SIDE = 1280  # long side in px of a picture on a page; what is downloaded keeps its size


def marked(
    pixels: np.ndarray, regions: Sequence[dict[str, Any]], corner: Sequence[float] | None = None, letters: float = 1.0
) -> np.ndarray:
    """The photograph with its regions, and the first corner of a box where one was clicked.
    `letters` scales what is written on it.
    """
    small = shrunk(pixels)
    scale = small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]
    picture = overlay.mark(small, [_scaled(region, scale) for region in regions], letters)
    if corner is not None:
        factor = overlay.enlargement(*small.shape[:2])
        at = tuple(value * share * factor for value, share in zip(corner, scale, strict=True))
        marks.marker(picture, at, marks.colour(len(regions)), max(7, max(picture.shape) // 100))
    return picture


def original(at: Sequence[float], pixels: np.ndarray) -> tuple[float, float]:
    """The pixel of the photograph under a pixel of its `marked` picture."""
    small = shrunk_size(*pixels.shape[:2])
    factor = overlay.enlargement(*small)
    x, y = (
        (value + 0.5) * whole / (shown * factor) for value, whole, shown in zip(at, pixels.shape[1::-1], small[::-1], strict=True)
    )
    return min(max(x, 0.0), pixels.shape[1] - 1.0), min(max(y, 0.0), pixels.shape[0] - 1.0)


def pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both at the size of the first, for a slider between them."""
    import cv2

    a = shrunk(a)
    if b.shape != a.shape:
        b = cv2.resize(b, a.shape[1::-1], interpolation=cv2.INTER_AREA if b.size > a.size else cv2.INTER_CUBIC)
    return a, b


def shrunk_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a photograph on the page, before small ones are enlarged."""
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrunk(pixels: np.ndarray) -> np.ndarray:
    """The photograph at `shrunk_size`."""
    import cv2

    size = shrunk_size(*pixels.shape[:2])
    return pixels if size == pixels.shape[:2] else cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)


def _scaled(region: dict[str, Any], scale: tuple[float, float]) -> dict[str, Any]:
    """Coordinates in pixels of the smaller picture; the mask is fitted where it is drawn."""
    box = [edge * scale[axis % 2] for axis, edge in enumerate(region["box_xyxy"])]
    points = [[value * share for value, share in zip(point, scale, strict=True)] for point in region.get("points") or []]
    return {**region, "box_xyxy": box, "points": points}

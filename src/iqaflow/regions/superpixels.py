"""Superpixels: regions of one colour, found in the view itself by SLIC. The default; needs nothing but the picture."""

from __future__ import annotations

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.config.schema import Annotate
from iqaflow.core.workspace import Workspace
from iqaflow.data.masks import bounds
from iqaflow.data.photographs import Photograph
from iqaflow.regions.phrase import colour
from iqaflow.regions.shape import Region, Segments, Window

# Longer side superpixels are found at. They are a handful of large parts: more pixels cost twenty times as much at 512 and
# move their borders by a pixel or two.
WORK_PX = 128
SMOOTH = 1.5  # Gaussian on the reduced masks, so that enlarged borders are curves and not stairs


def of_photograph(photograph: Photograph, pixels: np.ndarray, config: Config, workspace: Workspace) -> None:
    """Nothing: superpixels are found view by view."""


def of_view(
    view: np.ndarray, window: Window, segments: Segments | None, config: Annotate, rng: np.random.Generator
) -> list[Region]:
    """As many superpixels as drawn from `segments`, those within `area`."""
    return superpixels(view, int(rng.integers(config.segments[0], config.segments[1] + 1)), config.area)


def superpixels(image: np.ndarray, segments: int, area: tuple[float, float]) -> list[Region]:
    """Regions of an undistorted uint8 RGB image by SLIC (Achanta et al. 2012), those whose share of the image lies
    within `area`, ordered from top left. They never overlap.
    """
    from skimage.segmentation import slic

    small = _reduced(image)
    labels = slic(small, n_segments=segments, compactness=12, sigma=1, start_label=0, channel_axis=-1, max_num_iter=5)
    full = labels if small is image else _enlarged(labels, image.shape[:2])
    regions = []
    for value in range(labels.max() + 1):
        mask = full == value
        if max(area[0], 1 / mask.size) <= np.count_nonzero(mask) / mask.size <= area[1]:
            regions.append(Region(mask, bounds(mask), f"{colour(small[labels == value])} region"))
    return regions


def _reduced(image: np.ndarray) -> np.ndarray:
    import cv2

    height, width = image.shape[:2]
    scale = WORK_PX / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _enlarged(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (h, w) at `size` (H, W): of the smoothed masks the strongest wins at every pixel."""
    import cv2

    full, best = np.zeros(size, np.min_scalar_type(int(labels.max()))), np.zeros(size, np.uint8)
    for value in range(labels.max() + 1):
        soft = cv2.GaussianBlur((labels == value).astype(np.uint8) * 255, (0, 0), SMOOTH)
        soft = cv2.resize(soft, size[::-1], interpolation=cv2.INTER_LINEAR)
        full[soft > best] = value
        np.maximum(best, soft, out=best)
    return full

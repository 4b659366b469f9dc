"""Superpixels of the quality channels, kept where the map is high on average: borders follow the distortion."""

from __future__ import annotations

import numpy as np

from iqaflow.grounding.channels import features
from iqaflow.grounding.maps import above, keep, resize
from iqaflow.grounding.segmenters import Box, Options, Points

WEIGHTS = False
SLOW = True
WORK_PX = 128  # longer side on which superpixels are found
OPTIONS = [
    {"threshold": threshold, "segments": segments, "on": on, "compactness": 0.1, "components": "largest"}
    for on in ("both", "quality")
    for segments in (60, 25)
    for threshold in (0.5, 0.6)
]


def segment(
    image: np.ndarray, map_: np.ndarray, points: Points, negatives: Points, box_xyxy: Box | None, options: Options
) -> np.ndarray:
    """SLIC (Achanta et al. 2012) on the quality channels; superpixels whose mean of the map reaches `threshold` of the
    highest mean. Superpixels under a negative point are left out unless a positive point lies there too.
    """
    from skimage.segmentation import slic

    channels = features(image, options["on"], WORK_PX)
    small = resize(map_, channels.shape[:2])
    if min(channels.shape[:2]) < 4 or float(np.ptp(channels, axis=(0, 1)).max()) == 0:
        return keep(above(map_, options["threshold"]), map_, options["components"])
    labels = slic(
        channels,
        n_segments=options["segments"],
        compactness=options["compactness"],
        start_label=0,
        channel_axis=-1,
        max_num_iter=5,
        convert2lab=False,
    )
    counts = np.bincount(labels.ravel())
    means = np.bincount(labels.ravel(), weights=small.ravel()) / np.maximum(counts, 1)
    chosen = above(means, options["threshold"])
    scale = np.array(labels.shape) / np.array(map_.shape)
    hit, missed = ({int(labels[_index(point, scale, labels.shape)]) for point in group} for group in (points, negatives))
    for label in missed - hit:
        chosen[label] = False
    for label in hit:
        chosen[label] = True
    if not chosen.any():
        return keep(above(map_, options["threshold"]), map_, options["components"])
    mask = keep(chosen[labels], small, options["components"])
    return resize(mask, map_.shape) >= 0.5


def _index(point: tuple[float, float], scale: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(min(max(int(at * by), 0), side - 1) for at, by, side in zip(point[::-1], scale, shape, strict=True))

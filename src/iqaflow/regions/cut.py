"""Regions of a view out of the segments of its photograph."""

from __future__ import annotations

import numpy as np

from iqaflow.data.masks import bounds
from iqaflow.regions.phrase import described, told_apart
from iqaflow.regions.shape import Region, Segments, Window

NOTICED = 0.01  # share of a view from which a part counts when parts of one name are told apart


def regions(view: np.ndarray, window: Window, segments: Segments | None, area: tuple[float, float]) -> list[Region]:
    """Every segment whose share of the view (h, w, 3) lies within `area`, in the order of the segments; its mask is the
    segment's own, not smoothed. None without segments.
    """
    if segments is None:
        return []
    labels = window.mask(segments.labels)
    shares = np.bincount(labels.ravel(), minlength=len(segments.names) + 1)[1:] / labels.size
    seen, masks, names, boxes = [], [], [], []
    for at, (name, share) in enumerate(zip(segments.names, shares.tolist(), strict=True)):
        wanted = max(area[0], 1 / labels.size) <= share <= area[1]
        if wanted or (name and share >= NOTICED):  # a small dog makes the other one the larger dog
            mask = labels == at + 1
            seen.append(at)
            masks.append(mask if wanted else None)
            names.append(name or described(view, mask))
            boxes.append(bounds(mask))
    told = told_apart(names, shares[seen].tolist(), boxes, labels.shape)
    return [Region(mask, box, label) for mask, box, label in zip(masks, boxes, told, strict=True) if mask is not None]

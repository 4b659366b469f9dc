"""Regions, the windows that views are cut from, the segments of a whole photograph, and the regions that a view has of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from iqaflow.data.images import size_of
from iqaflow.data.masks import bounds
from iqaflow.regions.phrase import described, distinguished

MOST_SEGMENTS = 65_535
NOTICED = 0.01  # share of a view from which a part counts when parts of one name are told apart


@dataclass(frozen=True)
class Region:
    """A part of an image. `mask` (H, W) bool; `box` x0, y0, x1, y1 in pixels, right and bottom exclusive."""

    mask: np.ndarray
    box: tuple[int, int, int, int]
    label: str

    @property
    def area(self) -> float:
        return float(self.mask.mean())


@dataclass(frozen=True)
class Segments:
    """What is where in a photograph. `labels` (H, W) uint8 or uint16: 0 where nothing is known, else k for the segment
    called `names[k - 1]`, None where it has no name. One map, so that segments never overlap and any number costs the same.
    """

    labels: np.ndarray
    names: tuple[str | None, ...]


@dataclass(frozen=True)
class Window:
    """Where a view lies in its photograph (pixels), and how it is shown: `size` (height, width) of the view, mirrored left to
    right or not.
    """

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    mirrored: bool = False

    def pixels(self, image: np.ndarray) -> np.ndarray:
        """The view (h, w, 3) of a photograph (H, W, 3): averaged when smaller, cubic when larger."""
        import cv2

        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        larger = self.size[0] > self.height or self.size[1] > self.width
        view = cv2.resize(part, self.size[::-1], interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)
        return np.ascontiguousarray(view[:, ::-1] if self.mirrored else view)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """The view (h, w) of a mask or label map (H, W): the value under the middle of every pixel, none is made up."""
        rows = self.top + ((np.arange(self.size[0]) + 0.5) * (self.height / self.size[0])).astype(np.intp)
        columns = self.left + ((np.arange(self.size[1]) + 0.5) * (self.width / self.size[1])).astype(np.intp)
        return mask[rows[:, None], columns[::-1] if self.mirrored else columns]


def segments(ids: np.ndarray, names: dict[int, str | None]) -> Segments:
    """Segments of a map of arbitrary `ids` (H, W), keeping those in `names`, numbered in the order of `names`; everything
    else is nothing. Raises ValueError if there are more than a label map can hold.
    """
    if len(names) > MOST_SEGMENTS:
        raise ValueError(f"{len(names)} segments, but at most {MOST_SEGMENTS} are possible")
    dtype = np.uint8 if len(names) < 256 else np.uint16
    if not names:
        return Segments(np.zeros(ids.shape, dtype), ())
    wanted = np.fromiter(names, np.int64, len(names))
    order = np.argsort(wanted)
    at = np.searchsorted(wanted[order], ids).clip(max=len(wanted) - 1)
    number = (order + 1).astype(dtype)[at]
    number[wanted[order][at] != ids] = 0
    return Segments(number, tuple(names.values()))


def cut(view: np.ndarray, window: Window, segments: Segments | None, area: tuple[float, float]) -> list[Region]:
    """Regions of a view (h, w, 3) out of the segments of its photograph: every segment whose share of the view lies within
    `area`, in the order of the segments; its mask is the segment's own, not smoothed. None without segments.
    """
    if segments is None:
        return []
    labels = window.mask(segments.labels)
    shares = np.bincount(labels.ravel(), minlength=len(segments.names) + 1)[1:] / labels.size
    seen: list[int] = []
    masks: list[np.ndarray | None] = []
    names: list[str] = []
    boxes: list[tuple[int, int, int, int]] = []
    for at, (name, share) in enumerate(zip(segments.names, shares.tolist(), strict=True)):
        wanted = max(area[0], 1 / labels.size) <= share <= area[1]
        if wanted or (name and share >= NOTICED):  # a small dog makes the other one the larger dog
            mask = labels == at + 1
            seen.append(at)
            masks.append(mask if wanted else None)
            names.append(name or described(view, mask))
            boxes.append(bounds(mask))
    unique = distinguished(names, shares[seen].tolist(), boxes, size_of(labels))
    return [Region(mask, box, label) for mask, box, label in zip(masks, boxes, unique, strict=True) if mask is not None]

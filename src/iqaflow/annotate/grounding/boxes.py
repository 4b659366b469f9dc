"""Boxes of one object made into as few as it takes (Grounding-IQA 3.3, box-merge)."""

from __future__ import annotations

from collections.abc import Iterable

Box = tuple[float, float, float, float]


def merged(boxes: Iterable[Box], touching_area: float, overlap: float) -> list[Box]:
    """Boxes (x0, y0, x1, y1) in shares of the image, merged until nothing changes, in reading order.

    Two boxes become their common bounding box if they touch (a shared edge or corner is enough) and one of them is smaller
    than `touching_area` (Ta), or if more than `overlap` (To) of one lies in the other. The paper merges pair by pair, which
    depends on the order; here everything that hangs together is merged at once, so the result does not.
    """
    found = sorted(set(boxes), key=_reading)
    while True:
        groups = _groups(found, touching_area, overlap)
        if len(groups) == len(found):
            return found
        found = sorted({_around(group) for group in groups}, key=_reading)


def _groups(boxes: list[Box], touching_area: float, overlap: float) -> list[list[Box]]:
    """Connected components of the boxes that are to be merged."""
    groups: list[list[Box]] = []
    for box in boxes:
        near = [group for group in groups if any(_belong(box, other, touching_area, overlap) for other in group)]
        groups = [group for group in groups if group not in near] + [[box, *(one for group in near for one in group)]]
    return groups


def _belong(a: Box, b: Box, touching_area: float, overlap: float) -> bool:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width < 0 or height < 0:
        return False
    smaller = min(area(a), area(b))
    return smaller < touching_area or width * height > overlap * smaller


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _reading(box: Box) -> tuple[float, ...]:
    """Top to bottom, then left to right."""
    return (box[1], box[0], box[3], box[2])

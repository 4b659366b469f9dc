"""What becomes of the boxes (Grounding-IQA 3.3): those of one object are made into as few as it takes (stage 3, box-merge), and
put into the text, `the [trees](<0, 105>, <14, 119>) are blurry` (stage 4, fusion).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from iqaflow.annotate.grounding.triples import position
from iqaflow.tasks import grammar

Box = tuple[float, float, float, float]
Cells = tuple[tuple[int, int], ...]


def merged(boxes: Iterable[Box], touching_area: float, overlap: float) -> list[Box]:
    """Boxes (x0, y0, x1, y1) in shares of the image, merged until nothing changes, in reading order.

    Two boxes become their common bounding box if they touch (a shared edge or corner is enough) and one of them is smaller
    than `touching_area` (Ta), or if more than `overlap` (To) of one lies in the other. The paper merges pair by pair, which
    depends on the order; here everything that hangs together is merged at once, so the result does not.
    """
    fewest = sorted(set(boxes), key=_reading)
    while True:
        groups = _groups(fewest, touching_area, overlap)
        if len(groups) == len(fewest):
            return fewest
        fewest = sorted({_around(group) for group in groups}, key=_reading)


def _groups(boxes: list[Box], touching_area: float, overlap: float) -> list[list[Box]]:
    """Connected components of the boxes that are to be merged."""
    groups: list[list[Box]] = []
    for box in boxes:
        near = [group for group in groups if any(_belong(box, other, touching_area, overlap) for other in group)]
        groups = [group for group in groups if group not in near] + [[box, *(other for group in near for other in group)]]
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


def fused(text: str, named: Mapping[str, Cells]) -> str:
    """Put the boxes of each phrase behind its first mention; of phrases that overlap the longer one is boxed."""
    taken: list[tuple[int, int, str]] = []
    for phrase in sorted(named, key=lambda phrase: (-len(phrase), phrase)):
        for match in re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE):
            if all(match.end() <= start or end <= match.start() for start, end, _ in taken):
                taken.append((*match.span(), phrase))
                break
    for start, end, phrase in sorted(taken, reverse=True):
        text = f"{text[:start]}{grammar.places(text[start:end], named[phrase])}{text[end:]}"
    return text


def mentioned(text: str, phrases: Sequence[str]) -> list[str]:
    """The phrases that a text names, as whole words, those inside a longer one left out."""
    spans = {phrase: match.span() for phrase in phrases if (match := position(phrase, text))}
    return [
        phrase
        for phrase, (start, end) in spans.items()
        if not any(low <= start and end <= high and high - low > end - start for low, high in spans.values())
    ]


def cells(boxes: Sequence[tuple[int, int, int, int]], width: int, height: int) -> Cells:
    """Boxes (pixels) on the 20x20 grid, each once, in reading order."""
    return tuple(sorted({grammar.box_cells(box, width, height) for box in boxes}))

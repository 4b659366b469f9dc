"""The closed vocabulary of answers and its one parser: categories, severities, ratings, positions, boxes on the 20x20 grid.

Boxes are `[label](<i, j>)`, points `[label](<k>)`, with cells numbered row by row from the top left, 0..399
(Grounding-IQA, section 3.1). Plain text, so that any chat model can speak it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from iqaflow import distortions
from iqaflow.distortions import SEVERITIES

GRID = 20
CELLS = GRID * GRID
RATINGS = ("bad", "poor", "fair", "good", "excellent")
VERTICAL, HORIZONTAL = ("top", "bottom"), ("left", "right")
WHOLE = "whole image"
CLEAN = "none"
TAIL = "Answer with a single word or phrase."

_PLACE = re.compile(r"\[([^\]]*)\]\((<\d+(?:, \d+)?>(?:, <\d+(?:, \d+)?>)*)\)")
_CELLS = re.compile(r"<(\d+)(?:, (\d+))?>")


@dataclass(frozen=True)
class Place:
    """A grounded phrase: a point (`last` is None) or a box from cell `first` to cell `last`."""

    label: str
    first: int
    last: int | None = None

    def __str__(self) -> str:
        return f"[{self.label}](<{self.first}>)" if self.last is None else f"[{self.label}](<{self.first}, {self.last}>)"


def places(label: str, boxes: Iterable[tuple[int, int]]) -> str:
    """One label with all its boxes, `[buildings](<60, 230>, <111, 219>)`; read back as one place per box."""
    return f"[{label}]({', '.join(f'<{first}, {last}>' for first, last in boxes)})"


def cell(u: float, v: float, grid: int = GRID) -> int:
    """Cell of a relative position, u across and v down, both clamped to [0, 1)."""
    column, row = (min(max(int(value * grid), 0), grid - 1) for value in (u, v))
    return row * grid + column


def box_cells(box: tuple[float, float, float, float], width: int, height: int, grid: int = GRID) -> tuple[int, int]:
    """Cells of the top left and the bottom right pixel of a box (x0, y0, x1, y1; right and bottom exclusive)."""
    x0, y0, x1, y1 = box
    return cell(x0 / width, y0 / height, grid), cell(max(x1 - 1, x0) / width, max(y1 - 1, y0) / height, grid)


def centre(index: int) -> tuple[float, float]:
    """Relative (u, v) of a cell's centre (Grounding-IQA's decoding)."""
    return (index % GRID + 0.5) / GRID, (index // GRID + 0.5) / GRID


def cells_box(first: int, last: int, width: int, height: int, grid: int = GRID) -> tuple[float, float, float, float]:
    """Pixels (x0, y0, x1, y1) from the outer edges of the cells `first` and `last`."""
    return (
        first % grid / grid * width,
        first // grid / grid * height,
        (last % grid + 1) / grid * width,
        (last // grid + 1) / grid * height,
    )


def position(box: tuple[float, float, float, float], width: int, height: int) -> tuple[str, str]:
    """Vertical and horizontal word of a box by its centre, half-open at the middle (IQA-Spider, section 3.2)."""
    x, y = (box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height
    return VERTICAL[y >= 0.5], HORIZONTAL[x >= 0.5]


def phrases() -> dict[str, str]:
    """Answer phrase to category id, such as `insufficient contrast` to `contrast_weaken`."""
    return {category.phrase: name for name, category in distortions.categories().items()}


def identification(categories: list[str]) -> str:
    """The brief answer: phrases in the order applied, joined by `and`, or `none`."""
    return " and ".join(distortions.phrase(category) for category in categories) or CLEAN


def faults(pairs: list[tuple[str, str]]) -> str:
    """`slight blur, serious noise` from (severity, category) pairs, or `none`."""
    return ", ".join(f"{severity} {distortions.phrase(category)}" for severity, category in pairs) or CLEAN


@functools.cache
def _closed() -> re.Pattern[str]:
    words = [*phrases(), *SEVERITIES, *RATINGS, *VERTICAL, *HORIZONTAL, WHOLE, CLEAN, "Image A", "Image B", "Yes", "No"]
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))}|\d+)\b")


def spans(text: str) -> list[tuple[int, int]]:
    """[start, end) characters of the words of an answer that carry it: closed vocabulary and cell numbers."""
    return [match.span() for match in _closed().finditer(text)]


@dataclass(frozen=True)
class Answer:
    """What a text says: category ids and (severity or None, category) in order, places, rating, choice, position words, and
    the first severity word, with a category or alone.
    """

    categories: tuple[str, ...]
    faults: tuple[tuple[str | None, str], ...]
    places: tuple[Place, ...]
    rating: str | None
    better: str | None
    affirmed: bool | None
    vertical: str | None
    horizontal: str | None
    whole: bool
    severity: str | None


def parse(text: str, known: Mapping[str, str] | None = None) -> Answer:
    """Read any answer of the grammar; what is not in it is skipped, so every text parses. `known` are the phrases of a model's
    own categories (`Vocabulary.phrases`); else all there are today.
    """
    plain = _PLACE.sub(lambda match: match[1], text)
    words = f" {re.sub(r'[^a-z0-9 ]+', ' ', plain.lower())} "
    known = phrases() if known is None else known
    mentions = [
        (match[1], known[match[2]])
        for match in re.finditer(rf"(?:\b({'|'.join(SEVERITIES)}) )?\b({'|'.join(map(re.escape, known))})\b", words)
    ]
    better = re.search(r"\bimage ([ab])\b", words)
    return Answer(
        categories=tuple(dict.fromkeys(category for _, category in mentions)),
        faults=tuple(dict.fromkeys(mentions)),
        places=tuple(
            Place(label, int(first), int(last) if last else None)
            for label, cells in _PLACE.findall(text)
            for first, last in _CELLS.findall(cells)
        ),
        rating=next((word for word in words.split() if word in RATINGS), None),
        better=f"Image {better[1].upper()}" if better else None,
        affirmed={"yes": True, "no": False}.get(words.split()[0]) if words.split() else None,
        vertical=next((word for word in words.split() if word in VERTICAL), None),
        horizontal=next((word for word in words.split() if word in HORIZONTAL), None),
        whole=f" {WHOLE} " in words,
        severity=next((word for word in words.split() if word in SEVERITIES), None),
    )

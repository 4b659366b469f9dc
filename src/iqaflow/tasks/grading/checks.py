"""Whether a stored answer says what its targets say: the comparisons that tasks share."""

from __future__ import annotations

import re
from functools import lru_cache

from iqaflow.tasks import grammar
from iqaflow.tasks.task import Meant

# every box of `[label](<i, j>, <k, l>)`
_GROUPS, _BOX = re.compile(r"\]\(([^()]*)\)"), re.compile(r"<\s*(\d+)(?:\s*,\s*(\d+))?\s*>")

parsed = lru_cache(maxsize=65_536)(grammar.parse)


def categories(answer: str, meant: Meant) -> str | None:
    """Null if the answer names the target categories and no others, else the difference in words."""
    named, wanted = sorted(parsed(answer).categories), sorted(set(meant.categories))
    return None if named == wanted else f"names {', '.join(named) or 'none'}, the targets are {', '.join(wanted) or 'none'}"


def boxes(answer: str, meant: Meant, needed: bool = False) -> str | None:
    """Null if the boxes of the answer are those of the targets, or if it has none and may name places by words."""
    given, wanted = given_boxes(answer), sorted(set(meant.boxes))
    if given == wanted or not (given or needed):
        return None
    return f"gives boxes {', '.join(given) or 'none'}, the targets are {', '.join(wanted) or 'none'}"


def categories_and_boxes(answer: str, meant: Meant) -> str | None:
    return categories(answer, meant) or boxes(answer, meant)


def given_boxes(answer: str) -> list[str]:
    """The boxes that an answer gives, `first-last`, sorted; points are none."""
    return sorted({f"{first}-{last}" for group in _GROUPS.findall(answer) for first, last in _BOX.findall(group) if last})


def off_grid(answer: str) -> str | None:
    """Null, or the first cell of the answer that is not on the grid."""
    cells = [int(cell) for group in _GROUPS.findall(answer) for box in _BOX.findall(group) for cell in box if cell]
    beyond = [cell for cell in cells if cell >= grammar.CELLS]
    return f"names cell {beyond[0]}, the grid has 0..{grammar.CELLS - 1}" if beyond else None

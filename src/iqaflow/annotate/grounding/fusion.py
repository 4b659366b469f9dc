"""Stage 4: boxes into text, `the [trees](<0, 105>, <14, 119>) are blurry` (Grounding-IQA 3.3, fusion)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from iqaflow.annotate.grounding.triples import position
from iqaflow.tasks import grammar

Cells = tuple[tuple[int, int], ...]


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

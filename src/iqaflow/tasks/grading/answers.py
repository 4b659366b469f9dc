"""What an answer says, in one spelling, and what it earns: sets of distortions, the better image, inline boxes.

Truth and predictions are read by the same parser (`tasks.grammar`), so a model is graded on what it says and not on
how it spells it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from iqaflow.distortions import phrase
from iqaflow.tasks import grammar

if TYPE_CHECKING:
    from iqaflow.data.rows import ConversationRow

NONE = grammar.CLEAN
_CLEAN = re.compile(r"\b(none|no (visible |noticeable )?distortions?)\b", re.IGNORECASE)
_BOX = re.compile(r"\[([^\]]*)\]\(<[^<>]*>(?:, <[^<>]*>)*\)")

Finding = tuple[str | None, str]  # (severity word or None, category id)
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of the image


def findings(text: str) -> list[Finding] | None:
    """The distortions a text names, in order, each once; [] if it says there are none; None if it says neither."""
    severity_of: dict[str, str | None] = {}
    for severity, category in grammar.parse(text).faults:
        if severity_of.get(category) is None:  # a later mention may add the severity
            severity_of[category] = severity
    if severity_of:
        return [(severity, category) for category, severity in severity_of.items()]
    return [] if _CLEAN.search(text) else None


def label(text: str) -> str:
    """The categories a text names in one spelling and order (`blur and noise`, `none`); other text unchanged."""
    faults = findings(text)
    if faults is None:
        return text.strip()
    return " and ".join(sorted(phrase(category) for _, category in faults)) or NONE


def severities(text: str) -> str:
    """Like `label`, with severities: `serious blur, slight noise`."""
    faults = findings(text)
    if faults is None:
        return text.strip()
    named = sorted((phrase(category), severity or "") for severity, category in faults)
    return ", ".join(f"{severity} {name}".strip() for name, severity in named) or NONE


def set_credit(target: str, prediction: str) -> float:
    """Credit for a set of categories: 1 if equal, else hits / max(|predicted|, |true|) (DepictQA-Wild section 3.7)."""
    truth, answer = findings(target), findings(prediction)
    if truth is None or answer is None:
        return 0.0
    wanted, given = {category for _, category in truth}, {category for _, category in answer}
    if wanted == given:
        return 1.0
    return len(wanted & given) / max(len(wanted), len(given))


def plain(text: str) -> str:
    """A short answer for word match: lower case, no boxes, no punctuation at the ends, single spaces."""
    return " ".join(strip_boxes(text).lower().split()).strip(" .,;:!?\"'")


def strip_boxes(text: str) -> str:
    """The text with `[label](<i, j>)` reduced to `label`: how Grounding-IQA compares descriptions."""
    return _BOX.sub(lambda match: match.group(1), text)


def boxes(text: str) -> list[tuple[str, Box]]:
    """Every inline box with its label, from the outer edges of its cells (the paper decodes to cell centres, which
    would give a one-cell box no area). Points, corners in the wrong order or outside the grid are left out.
    """
    labelled = []
    for place in grammar.parse(text).places:
        if place.last is None or max(place.first, place.last) >= grammar.CELLS:
            continue
        box = grammar.cells_box(place.first, place.last, 1, 1)
        if box[0] < box[2] and box[1] < box[3]:
            labelled.append((" ".join(place.label.lower().split()), box))
    return labelled


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def name_similarity(a: str, b: str) -> float:
    """Share of common words (Dice) of two labels; the similarity of the Grounding-IQA paper is not published."""
    left, right = set(a.split()), set(b.split())
    return 2 * len(left & right) / (len(left) + len(right)) if left and right else float(left == right)


def match_boxes(target: str, prediction: str) -> list[tuple[float, bool]]:
    """For every true box: IoU with its partner among the predicted boxes (0 without one), and whether the tag counts
    as recalled (IoU > .5 and name similarity > .5). Partners are one to one and maximise the summed IoU.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    truth, answer = boxes(target), boxes(prediction)
    result = [(0.0, False)] * len(truth)
    if truth and answer:
        ious = np.array([[box_iou(a[1], b[1]) for b in answer] for a in truth])
        for row, column in zip(*linear_sum_assignment(-ious), strict=True):
            iou = float(ious[row, column])
            same = name_similarity(truth[row][0], answer[column][0]) > 0.5
            result[row] = (iou, iou > 0.5 and same)
    return result


def given(row: ConversationRow) -> str:
    """The last answer of a stored conversation."""
    return next((turn["text"] for turn in reversed(row["turns"]) if turn["role"] == "assistant"), "")

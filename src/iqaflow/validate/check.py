"""What came of one expectation, and what to do about it if it failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GENERAL = "fix the source or run `iqaflow annotate` again"
LABELS = (
    "if the rows are imported, fix the label file named in `source.labelled` or leave the data set out; "
    "else run `iqaflow annotate` again"
)
LEAK = "remove one of the look-alikes from the source (or all but one data set that has them), then run `iqaflow annotate` again"
WORDS = (
    "if the rows are imported, clean the texts of that data set or leave it out of `source.labelled`; "
    "else report the wording, then run `iqaflow annotate` again"
)
# half a sentence by frame and column, else by frame, else in general
REMEDIES = {
    "columns": "the tables are of another version: run `iqaflow annotate` again",
    "splits": "give the empty split more in `source.weights` and `annotate.images`, then run `iqaflow annotate` again",
    "photographs": LEAK,
    "images.twin": LEAK,
    "images.missing": LABELS,
    "images.origin": LABELS,
    "images.text_fault": WORDS,
    "regions.label_fault": WORDS,
    "turns.text_fault": WORDS,
    "distortions": LABELS,
    "regions": LABELS,
    "conversations": LABELS,
    "conversation_images": LABELS,
    "target_boxes": LABELS,
    "categories": "check `annotate.two`, `annotate.ordered` and the source (grey photographs hide saturation), then run "
    "`iqaflow annotate` again",
    "choices": "the questions of this task are out of balance: run `iqaflow annotate` again with more images or another seed",
    "phrases": "add wordings to the pools of this task (`iqaflow.tasks.phrasing`), then run `iqaflow annotate` again",
}


@dataclass
class Check:
    """One expectation and what came of it. `rows` are the first offenders: their ids, then their values."""

    table: str
    expectation: str
    column: str
    says: str
    success: bool
    unexpected_count: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)


def remedy(table: str, column: str) -> str:
    """What to do when the check of a column of a frame fails."""
    first = column.split(", ")[0]
    return REMEDIES.get(f"{table}.{first}") or REMEDIES.get(table) or GENERAL

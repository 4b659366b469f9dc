"""`reports/validation.html`: one page a person reads offline: the verdict, why, and what the data look like.

The same bytes for the same data. What it says is decided here; how it looks, in `draw/html/templates/validation.html`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.draw.html import render
from iqaflow.draw.html.text import number
from iqaflow.validate.check import Check
from iqaflow.validate.report import examples, failures
from iqaflow.validate.report.summary import summary

if TYPE_CHECKING:
    import pandas as pd

TABLES = {  # frame: title, and why it is looked at
    "columns": ("Columns", "A missing or mistyped column would stop training halfway, or worse, be ignored."),
    "tables": ("Tables", "An empty table would pass every other check."),
    "splits": ("Splits", "Without test and calibration images there is nothing to measure or calibrate with."),
    "photographs": ("Photographs", "A photograph seen in training makes every test figure on it worthless."),
    "images": ("Images", "Each picture is decoded to its last byte and compared with its row and its reference."),
    "distortions": ("Distortions", "What was done to an image is the truth that every answer rests on."),
    "regions": ("Regions", "Masks and boxes are the truth for pointing; they must fit the pixels exactly."),
    "conversations": ("Conversations", "Each question and answer must be complete, and say what its targets say."),
    "turns": ("Turns", "An empty or foreign turn would teach the model to be silent or to speak as someone else."),
    "conversation_images": ("Images in conversations", "A question must show images that exist, and only its own split's."),
    "answer_spans": ("Label words", "Confidence is read at these words, so they must lie inside the answer."),
    "target_categories": ("Target categories", "What an answer is scored by must be what was done to the image."),
    "target_levels": ("Target levels", "Severity is learnt from them."),
    "target_regions": ("Target regions", "A region that is asked for must exist in the image."),
    "target_boxes": ("Target boxes", "Boxes in answers are two cells of the 20x20 grid, top left and bottom right."),
    "categories": ("Class balance", "A category that is hardly seen in training is not learnt."),
    "choices": ("Choices", "A model that may always answer `Yes` learns to."),
    "phrases": ("Wordings", "One question over and over teaches the question, not the image."),
}


def page(checks: list[Check], data: dict[str, pd.DataFrame], folder: Path) -> str:
    """The whole page. `data` are the frames that were judged; `folder` holds the pictures."""
    failed = [check for check in checks if not check.success]
    whole = "splits" in data  # the tables could be read
    return render(
        "validation.html",
        failed=len(failed),
        checks=len(checks),
        tiles_shown=_tiles(len(checks), len(failed), data),
        failures=failures.failures(failed, data, folder),
        summary=summary(data) if whole else None,
        groups=_groups(checks, data),
        examples=examples.cards(data, folder) if whole else [],
    )


def _tiles(checks: int, failed: int, data: dict[str, pd.DataFrame]) -> list[tuple[str, str, tuple[()]]]:
    tiles = [("checks hold", f"{checks - failed} of {checks}")]
    if "images" in data:
        images = data["images"]
        tiles += [
            ("images", number(len(images))),
            ("photographs", number(images["source_id"].nunique())),
            ("conversations", number(len(data["conversations"]))),
            ("images decoded", number(images["decoded"].sum())),
        ]
    return [(name, value, ()) for name, value in tiles]


def _groups(checks: list[Check], data: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """The checks of each frame."""
    groups = []
    for table, (title, why) in TABLES.items():
        mine = [check for check in checks if check.table == table]
        if mine:
            groups.append(
                {
                    "title": title,
                    "why": why,
                    "checks": mine,
                    "failed": sum(not check.success for check in mine),
                    "rows": len(data[table]),
                }
            )
    return groups

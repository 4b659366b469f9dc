"""What failed: the first rows of every check that does not hold, with the image and the words that belong to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.draw.html.text import number, plural
from iqaflow.validate.check import Check, remedy
from iqaflow.validate.report import images

if TYPE_CHECKING:
    import pandas as pd


def failures(failed: list[Check], data: dict[str, pd.DataFrame], folder: Path) -> list[dict[str, Any]]:
    """Each failed check: what it says, for how many rows not, the first of them, what to do."""
    lookup = _Lookup(data, failed)
    wanted = {image for check in failed for row in check.rows if (image := lookup.image(row))}
    image_rows = images.rows(folder, wanted) if "images" in data else {}
    thumbnails = {image: images.thumbnail(image_rows.get(image)) for image in wanted}
    shown = []
    for check in failed:
        names, rows = list(check.rows[0]) if check.rows else [], []
        for row in check.rows:
            image = lookup.image(row)
            rows.append(
                {
                    "image": image,
                    "thumbnail": thumbnails.get(image or "", ""),
                    "turns": lookup.turns_of(row),
                    "cells": ["missing" if row[name] is None else row[name] for name in names],
                }
            )
        shown.append(
            {
                "says": check.says,
                "column": check.column,
                "expectation": check.expectation,
                "rows": rows,
                "count": f"{plural(check.unexpected_count, 'row')} of {number(len(data[check.table]))} in {check.table}",
                "names": names,
                "more": check.unexpected_count - len(check.rows),
                "remedy": remedy(check.table, check.column),
            }
        )
    return shown


class _Lookup:
    """From a failing row to the image and the words that belong to it."""

    def __init__(self, data: dict[str, pd.DataFrame], failed: list[Check]) -> None:
        named = {row.get("conversation_id") for check in failed for row in check.rows}
        self.image_of: dict[str, dict[Any, Any]] = {}
        self.turns: dict[Any, list[tuple[Any, Any]]] = {}
        if "images" not in data:
            return
        for key, frame in (("source_id", data["images"]), ("conversation_id", data["conversation_images"])):
            known = frame[frame["image_id"].notna()].drop_duplicates(key)
            self.image_of[key] = dict(zip(known[key], known["image_id"], strict=True))
        turns = data["turns"][data["turns"]["conversation_id"].isin(named)]
        for turn in turns.itertuples():
            self.turns.setdefault(turn.conversation_id, []).append((turn.role, turn.text))

    def image(self, row: dict[str, Any]) -> str | None:
        if row.get("image_id") is not None:
            return row["image_id"]
        return next((of[row[key]] for key, of in self.image_of.items() if row.get(key) in of), None)

    def turns_of(self, row: dict[str, Any]) -> list[tuple[Any, Any]]:
        """Role and text of the first two turns."""
        return self.turns.get(row.get("conversation_id"), [])[:2]

"""Images with descriptions that people wrote, as in Q-Pathway: JSON `{"image": NAME, "description": TEXT, "score": 0..1}`, or a
CSV file with these columns. `text`, `caption` and `pathway` are read as descriptions too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iqaflow.annotate.imports import Item, Problems
from iqaflow.annotate.imports.llava import roles
from iqaflow.annotate.imports.text import entries, number, text_of
from iqaflow.core.errors import InputError

TEXTS = ("description", "text", "caption", "pathway")


def read(path: Path, problems: Problems) -> Iterator[Item]:
    for place, entry in enumerate(_rows(path)):
        if not isinstance(entry, dict):
            problems(f"entry {place}", "it is no object")
            continue
        images = roles(entry.get("image") or entry.get("img_path"))
        text = next((given for key in TEXTS if (given := text_of(entry.get(key)))), None)
        score = number(entry.get("score"))
        if images is None or len(images) != 1 or text is None:
            problems(f"entry {place}", "it has no image inside the folder, or no description")
        else:
            yield Item(images, description=text, score=score if score is not None and 0 <= score <= 1 else None)


def _rows(path: Path) -> list[Any]:
    if path.suffix.lower() != ".csv":
        return entries(path, "a list of descriptions")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({type(error).__name__}): give columns image and description.") from None

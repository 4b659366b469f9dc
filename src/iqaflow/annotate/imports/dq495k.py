"""DQ-495K of DepictQA-Wild: entries with `image_ref`, `image_A`, `image_B` (a name, or an object with `img_path`; absent where
there is none) and either `conversations` or `query` and `answer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iqaflow.annotate.imports import Item, Problems
from iqaflow.annotate.imports.llava import turns
from iqaflow.annotate.imports.text import entries, name, text_of

ROLES = (("image_ref", "reference"), ("image_A", "A"), ("image_B", "B"))


def read(path: Path, problems: Problems) -> Iterator[Item]:
    for place, entry in enumerate(entries(path, "a DQ-495K list")):
        if not isinstance(entry, dict):
            problems(f"entry {place}", "it is no object")
            continue
        images = _images(entry)
        question, answer = text_of(entry.get("query")), text_of(entry.get("answer"))
        dialogue = turns(entry) or (((question, answer),) if question and answer else ())
        if images is None or not dialogue:
            problems(f"entry {place}", "it has no image inside the folder, or no question with an answer")
        else:
            yield Item(images, dialogue=dialogue)


def _images(entry: dict[str, Any]) -> tuple[tuple[str, str], ...] | None:
    images: list[tuple[str, str]] = []
    for key, role in ROLES:
        value = entry.get(key)
        value = value.get("img_path") if isinstance(value, dict) else value
        if value is None:
            continue
        file = name(value)
        if file is None:
            return None
        images.append((role, file))
    named = dict(images)
    if not {"A", "B"} & named.keys():
        return None
    if {"A", "B"} <= named.keys():
        return tuple(images)
    # a lone image needs no letter
    return tuple(("image" if role in "AB" else role, file) for role, file in images)

"""LLaVA-style chat JSON: `{"image": NAME, "conversations": [{"from": "human", "value": "<image> ..."}, {"from": "gpt", ...}]}`;
also `images` with a list, and `messages` with `role` and `content` (LLaMA-Factory, ms-swift).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iqaflow.annotate.imports import Item, Problems
from iqaflow.annotate.imports.text import entries, name, text_of

PERSON = ("human", "user")
MODEL = ("gpt", "assistant")


def read(path: Path, problems: Problems) -> Iterator[Item]:
    for place, entry in enumerate(entries(path, "chat JSON")):
        what = f"entry {place}"
        if not isinstance(entry, dict):
            problems(what, "it is no object")
            continue
        images, dialogue = roles(entry.get("images") or entry.get("image")), turns(entry)
        if images is None:
            problems(what, "it names no image, more than two, or one outside the folder")
        elif not dialogue:
            problems(what, "it has no question with an answer")
        else:
            yield Item(images, dialogue=dialogue)


def roles(value: Any) -> tuple[tuple[str, str], ...] | None:
    """One image, or two to compare."""
    given = value if isinstance(value, list) else [value]
    names = [file for file in map(name, given) if file is not None]
    if len(names) < len(given) or len(names) not in (1, 2):
        return None
    return tuple(zip(("image",) if len(names) == 1 else ("A", "B"), names, strict=True))


def turns(entry: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Questions with the answers that follow them, without image marks."""
    pairs: list[tuple[str, str]] = []
    question: str | None = None
    chat = entry.get("conversations") or entry.get("messages")
    for turn in chat if isinstance(chat, list) else []:
        if not isinstance(turn, dict):
            continue
        who, text = turn.get("from") or turn.get("role"), text_of(turn.get("value") or turn.get("content"))
        text = text_of(re.sub(r"<\|?image\|?>", "", text)) if text else None
        if who in PERSON:
            question = text
        elif who in MODEL and question and text:
            pairs.append((question, text))
            question = None
    return tuple(pairs)

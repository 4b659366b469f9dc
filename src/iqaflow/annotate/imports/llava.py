"""LLaVA-style chat JSON: `{"image": NAME, "conversations": [{"from": "human", "value": "<image> ..."}, {"from": "gpt", ...}]}`;
also `images` with a list, and `messages` with `role` and `content` (LLaMA-Factory, ms-swift).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iqaflow.annotate.imports import Item, Problems
from iqaflow.annotate.imports.text import entries, name, said

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
    names = [name(one) for one in (value if isinstance(value, list) else [value])]
    if None in names or len(names) not in (1, 2):
        return None
    return tuple(zip(("image",) if len(names) == 1 else ("A", "B"), names, strict=True))


def turns(entry: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Questions with the answers that follow them, without image marks."""
    pairs, asked = [], None
    chat = entry.get("conversations") or entry.get("messages")
    for turn in chat if isinstance(chat, list) else []:
        if not isinstance(turn, dict):
            continue
        who, text = turn.get("from") or turn.get("role"), said(turn.get("value") or turn.get("content"))
        text = said(re.sub(r"<\|?image\|?>", "", text)) if text else None
        if who in PERSON:
            asked = text
        elif who in MODEL and asked and text:
            pairs.append((asked, text))
            asked = None
    return tuple(pairs)

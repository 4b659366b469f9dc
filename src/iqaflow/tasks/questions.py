"""What a data set's conversations ask a model: the questions, each once, with its truth and the cell it counts in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

from iqaflow.core.config import Config
from iqaflow.distortions import SEVERITIES, phrase
from iqaflow.tasks import answers, grammar

Row = dict[str, Any]
FAMILIES = ("identify", "rate", "score", "ground", "refer", "vqa", "describe", "describe_local")


def select(images: Iterable[Row], limit: int | None) -> list[Row]:
    """At most `limit` images, chosen by hash so that the choice does not follow the order they were made in."""
    rows = sorted(images, key=lambda row: _shuffle(row["image_id"]))
    return sorted(rows[:limit], key=lambda row: row["image_id"])


def truth(images: list[Row], conversations: Iterable[Row], config: Config) -> tuple[list[Row], list[Row]]:
    """The items these images are asked about, with their truth, and the conversations they come from.

    One item per image for `score` (item_id = image_id), else one per conversation (item_id = conversation_id). A
    question asked twice in other words counts once, or n would be flattering. Short answers are graded, so
    `identify`, `rate` and `vqa` use the brief style; descriptions the detailed one, and `benchmark.descriptions` limits
    them. Conversations about images not given are left out.
    """
    by_id = {row["image_id"]: row for row in images}
    items, asked = [], []
    for row in sorted(images, key=lambda row: row["image_id"]):
        if row["score"] is not None and math.isfinite(row["score"]):
            items.append(_item(row, "score", "nr", row["image_id"], "", _top(row), float(row["score"])))
    left = {"describe": config.benchmark.descriptions, "describe_local": config.benchmark.descriptions}
    for row in sorted(_once(conversations), key=lambda row: _shuffle(row["conversation_id"])):
        task = row["task"]
        if task not in _BUILDERS or any(entry["image_id"] not in by_id for entry in row["image_ids"]):
            continue
        item = _BUILDERS[task](row, by_id) if left.get(task, 1) else None
        if item is not None:
            items.append(item)
            asked.append(row)
            if task in left:
                left[task] -= 1
    return items, sorted(asked, key=lambda row: row["conversation_id"])


def _once(conversations: Iterable[Row]) -> list[Row]:
    """The first of the conversations that ask the same about the same images: it has the plain test question."""
    first: dict[Any, Row] = {}
    for row in sorted(conversations, key=lambda row: row["conversation_id"]):
        targets = row["targets"]
        images = tuple((entry["role"], entry["image_id"]) for entry in row["image_ids"])
        first.setdefault((row["task"], row["style"], row["reference_mode"], images, targets["kind"],
                          tuple(targets["region_ids"] or ())), row)
    return list(first.values())


def _shuffle(name: str) -> str:
    """A sort key that is the same everywhere and follows nothing: `the first n` then means any n."""
    return hashlib.sha256(name.encode()).hexdigest()


def _item(image: Row, family: str, cell: str, item_id: str, target: str, level: float, value: float | None) -> Row:
    return {"family": family, "cell": cell, "item_id": item_id, "source_id": image["source_id"],
            "image_id": image["image_id"], "target": target, "target_value": value, "level": level}


def _top(image: Row) -> float:
    return max((float(entry["level"]) for entry in image["distortions"]), default=0.0)


def _answer(row: Row) -> str:
    return next((turn["text"] for turn in reversed(row["turns"]) if turn["role"] == "assistant"), "")


def subject(row: Row, by_id: dict[str, Row]) -> Row:
    """The image a conversation is about: not the reference beside it."""
    return by_id[next(entry["image_id"] for entry in row["image_ids"] if entry["role"] != "reference")]


def _identify(row: Row, by_id: dict[str, Row]) -> Row | None:
    if row["style"] != "brief":
        return None
    image = subject(row, by_id)
    categories = row["targets"]["categories"] or []
    local = any(entry["region_id"] is not None for entry in image["distortions"])
    cell = "local" if local else ("clean", "single", "two")[min(len(categories), 2)]
    target = answers.label(" and ".join(phrase(name) for name in categories) or answers.NONE)
    mode = row["reference_mode"] or "nr"
    return _item(image, "identify", f"{cell}_{mode}", row["conversation_id"], target, _top(image), None)


def _rate(row: Row, by_id: dict[str, Row]) -> Row | None:
    target = row["targets"]["better"]
    if row["style"] != "brief" or not target:
        return None
    first = next(by_id[entry["image_id"]] for entry in row["image_ids"] if entry["role"] == "A")
    mode = row["reference_mode"] or "nr"
    return _item(first, "rate", mode, row["conversation_id"], f"Image {target.strip()[-1]}", _top(first), None)


def _ground(row: Row, by_id: dict[str, Row]) -> Row:
    image, targets = subject(row, by_id), row["targets"]
    kind = targets["kind"] or ""
    if not targets["region_ids"]:
        cell, target = "whole", grammar.WHOLE
    else:
        sort = kind.partition("_")[0]
        cell = "dao" if sort in ("order", "first", "last") else "hyd" if kind == sort else "sid"
        target = kind
    wanted = set(targets["region_ids"] or [])
    levels = [float(entry["level"]) for entry in image["distortions"] if entry["region_id"] in wanted]
    return _item(image, "ground", cell, row["conversation_id"], target, max(levels, default=_top(image)), None)


def _refer(row: Row, by_id: dict[str, Row]) -> Row:
    image, targets = subject(row, by_id), row["targets"]
    names, levels = targets["categories"] or [], targets["levels"] or []
    said = answers.findings(_answer(row)) or []
    if {category for _, category in said} == set(names):
        target = answers.severities(_answer(row))  # the answer's own words: pairs have three severities, not five
    else:
        words = [SEVERITIES[min(4, max(0, round(float(level)) - 1))] for level in levels]
        words += [""] * (len(names) - len(words))
        parts = (f"{word} {phrase(name)}".strip() for word, name in zip(words, names, strict=False))
        target = answers.severities(", ".join(parts) or answers.NONE)
    cell = "short" if row["style"] == "brief" else "long"
    return _item(image, "refer", cell, row["conversation_id"], target, max(map(float, levels), default=0.0), None)


def _vqa(row: Row, by_id: dict[str, Row]) -> Row | None:
    if row["style"] != "brief":
        return None
    target = answers.plain(_answer(row))
    cell = "yesno" if target in ("yes", "no") else "what"
    image = subject(row, by_id)
    return _item(image, "vqa", cell, row["conversation_id"], target, _top(image), None)


def _describe(row: Row, by_id: dict[str, Row]) -> Row | None:
    if row["style"] != "detailed":
        return None
    image, mode = subject(row, by_id), row["reference_mode"] or "nr"
    return _item(image, row["task"], mode, row["conversation_id"], _answer(row), _top(image), None)


_BUILDERS = {"identify": _identify, "rate": _rate, "ground": _ground, "refer": _refer, "vqa": _vqa,
             "describe": _describe, "describe_local": _describe}

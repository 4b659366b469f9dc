"""What a data set's conversations ask a model: the questions, each once, with its truth and the cell it counts in."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, cast

from iqaflow import tasks
from iqaflow.core.config import Config
from iqaflow.data.rows import ConversationRow, ImageRow

# rows as they were read from the tables, which say nothing of their types to mypy, or typed ones
Image = TypeVar("Image", bound=Mapping[str, Any])
Conversation = TypeVar("Conversation", bound=Mapping[str, Any])


class Question(TypedDict):
    """What is asked, without its truth: the task, the cell it counts in, and the image it is about."""

    family: str
    cell: str
    item_id: str
    source_id: str
    image_id: str


class Item(Question):
    """A question with its truth: the answer in one spelling, the number for a task that has one, and the strongest level asked
    about (0: clean).
    """

    target: str
    target_value: float | None
    level: float | None


def select(images: Iterable[Image], limit: int | None) -> list[Image]:
    """At most `limit` images, chosen by hash so that the choice does not follow the order they were made in."""
    rows = sorted(images, key=lambda row: _shuffle(row["image_id"]))
    return sorted(rows[:limit], key=lambda row: row["image_id"])


def truth(
    images: Sequence[Mapping[str, Any]], conversations: Iterable[Conversation], config: Config
) -> tuple[list[Item], list[Conversation]]:
    """The items these images are asked about, with their truth, and the conversations they come from.

    One item per image for a task whose value every image has (item_id = image_id), else one per conversation (item_id =
    conversation_id). A question asked twice in other words counts once, or n would be flattering. Each task says which of its
    conversations count, and how; `benchmark.descriptions` limits descriptions. Conversations about images not given are left out.
    """
    by_id = {row["image_id"]: cast(ImageRow, row) for row in images}
    known = tasks.known()
    items: list[Item] = []
    questions: list[Conversation] = []
    for image in sorted((cast(ImageRow, row) for row in images), key=lambda row: row["image_id"]):
        for task in known.values():
            value = task.value(image) if task.value else None
            if value is not None and math.isfinite(value):
                items.append(_item(image, task.name, "nr", image["image_id"], "", _strongest(image), float(value)))
    left = {task.name: config.benchmark.descriptions for task in known.values() if task.description}
    for row in sorted(_once(conversations), key=lambda row: _shuffle(row["conversation_id"])):
        name = row["task"]
        if name not in known or not left.get(name, 1) or any(entry["image_id"] not in by_id for entry in row["image_ids"]):
            continue
        image = subject(row, by_id)
        if (counted := known[name].item(cast(ConversationRow, row), image)) is not None:
            level = _strongest(image) if counted.level is None else counted.level
            items.append(_item(image, name, counted.cell, row["conversation_id"], counted.target, level, None))
            questions.append(row)
            if name in left:
                left[name] -= 1
    return items, sorted(questions, key=lambda row: row["conversation_id"])


def _once(conversations: Iterable[Conversation]) -> list[Conversation]:
    """The first of the conversations that ask the same about the same images: it has the plain test question."""
    first: dict[Any, Conversation] = {}
    for row in sorted(conversations, key=lambda row: row["conversation_id"]):
        targets = row["targets"]
        images = tuple((entry["role"], entry["image_id"]) for entry in row["image_ids"])
        first.setdefault(
            (row["task"], row["style"], row["reference_mode"], images, targets["kind"], tuple(targets["region_ids"] or ())), row
        )
    return list(first.values())


def _shuffle(name: str) -> str:
    """A sort key that is the same everywhere and follows nothing: `the first n` then means any n."""
    return hashlib.sha256(name.encode()).hexdigest()


def _item(image: ImageRow, family: str, cell: str, item_id: str, target: str, level: float, value: float | None) -> Item:
    return {
        "family": family,
        "cell": cell,
        "item_id": item_id,
        "source_id": image["source_id"],
        "image_id": image["image_id"],
        "target": target,
        "target_value": value,
        "level": level,
    }


def _strongest(image: ImageRow) -> float:
    return max((float(entry["level"]) for entry in image["distortions"] if entry["level"] is not None), default=0.0)


def subject(row: Mapping[str, Any], by_id: Mapping[str, Image]) -> Image:
    """The image a conversation is about: not the reference beside it, and the first of two."""
    return by_id[next(entry["image_id"] for entry in row["image_ids"] if entry["role"] in ("image", "A"))]

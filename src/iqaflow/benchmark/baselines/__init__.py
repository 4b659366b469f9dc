"""Baselines: what a model must beat, on the same items. One file per family of baselines, found by listing.

A baseline is a decorated function that gets the benchmark's questions and yields answers (`items.grade` says their
keys). It may fit on the train split and tune on the calibration split; it never reads a test image's truth.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from iqaflow.benchmark.items import Answer
from iqaflow.core.config import Config
from iqaflow.core.plugins import KINDS
from iqaflow.tasks.grading.items import Item, Question

T = TypeVar("T", bound=Callable[..., Any])

if TYPE_CHECKING:
    import numpy as np

Row = dict[str, Any]
Answers = Iterable[Answer]
_registered: dict[str, Baseline] = {}


@dataclass(frozen=True)
class Baseline:
    """A named predictor; `about` is for the report; one that `sees_reference` is a yardstick and not a rival."""

    name: str
    about: str
    sees_reference: bool
    answer: Callable[[Questions], Answers]


@dataclass
class Questions:
    """What a baseline may use: the items (their truth is removed), the images they are about, and other splits."""

    items: list[Question]
    images: dict[str, Row]
    conversations: dict[str, Row]
    folder: Path
    config: Config
    _cache: dict[Any, Any] = field(default_factory=dict)

    def of(self, *families: str) -> Iterator[tuple[Question, Row]]:
        """Items of some families, each with the image it is about."""
        for item in self.items:
            if item["family"] in families:
                yield item, self.images[item["image_id"]]

    def partners(self, item: Question) -> dict[str, Row]:
        """The images of an item by the role they play: `A`, `B`, `reference`."""
        entries = self.conversations[item["item_id"]]["image_ids"]
        return {entry["role"]: self.images[entry["image_id"]] for entry in entries}

    def two(self, item: Question) -> bool:
        """Whether an identify question says that there are two distortions."""
        turns = self.conversations[item["item_id"]]["turns"]
        return any(" TWO " in turn["text"] for turn in turns if turn["role"] == "user")

    def split(self, name: str) -> list[Row]:
        """Image rows of the train or calibration split, with their truth."""
        if name not in ("train", "calibration"):
            raise ValueError(f"a baseline may read train or calibration, not {name!r}")
        return self.remember(("split", name), lambda: _rows(self.folder, "images", name))

    def dialogues(self, name: str) -> list[Row]:
        """Conversation rows of the train or calibration split."""
        if name not in ("train", "calibration"):
            raise ValueError(f"a baseline may read train or calibration, not {name!r}")
        return self.remember(("dialogues", name), lambda: _rows(self.folder, "conversations", name))

    def remember(self, key: Any, make: Callable[[], Any]) -> Any:
        """`make()` once for each key: baselines share decoded features in memory, nothing is written."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def features(self, row: Row) -> np.ndarray:
        """Scene statistics of an image row."""
        from iqaflow.data.images import decode
        from iqaflow.iqa.scene_statistics import features

        return self.remember(("features", row["image_id"]), lambda: features(decode(row["image"])))


def _rows(folder: Path, table: str, split: str) -> list[Row]:
    from iqaflow.data.tables import read_rows

    return list(read_rows(folder, table, split, origin="synthetic"))


def baseline(name: str, about: str, sees_reference: bool = False) -> Callable[[T], T]:
    """Register the decorated function as a baseline."""

    def register(function: T) -> T:
        if name in _registered:
            raise ValueError(f"baseline {name!r} is defined twice")
        _registered[name] = Baseline(name, about, sees_reference, function)
        return function

    return register


@functools.cache
def known() -> dict[str, Baseline]:
    """All baselines by name."""
    KINDS["baselines"].modules()
    return dict(sorted(_registered.items()))


def answer_all(
    items: list[Item], images: list[Row], conversations: list[Row], folder: Path, config: Config
) -> dict[str, list[Answer]]:
    """Every baseline's answers to the items it has something to say about, by name.

    One thread: the fits are small, and sums in another order would change the last bits.
    """
    from threadpoolctl import threadpool_limits

    blind = cast(list[Question], [{**item, "target": None, "target_value": None, "level": None} for item in items])
    questions = Questions(
        blind, {row["image_id"]: row for row in images}, {row["conversation_id"]: row for row in conversations}, folder, config
    )
    with threadpool_limits(1):
        return {name: list(entry.answer(questions)) for name, entry in known().items()}


def answer(
    item: Question, prediction: str = "", value: float | None = None, confidence: float | None = None, hit: float | None = None
) -> Answer:
    """One answer in the shape `items.grade` wants."""
    return {
        "family": item["family"],
        "item_id": item["item_id"],
        "prediction": prediction,
        "value": value,
        "confidence": confidence,
        "hit": hit,
    }

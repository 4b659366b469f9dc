"""What the questions are made from: one annotated image with its exact truth, and the question made of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from iqaflow import distortions
from iqaflow.tasks import grammar

T = TypeVar("T")


@dataclass(frozen=True)
class Flaw:
    """A distortion as applied. `region` is None for the whole image; `order` counts from 0 over all distortions of the
    image in the order they were applied, so that those of one region are in their own order too. `phrase` are the words of its
    category as a model has them; empty for those of today.
    """

    name: str
    category: str
    level: int
    severity: str
    order: int
    region: int | None
    phrase: str = ""

    @property
    def words(self) -> str:
        """`serious blur`."""
        return f"{self.severity} {self.phrase or distortions.phrase(self.category)}"


@dataclass(frozen=True)
class Area:
    """A region of a scene; `mask` (H, W) bool, `box` in pixels, `score` 0..1 or NaN where nobody knows it."""

    region: int
    label: str
    mask: np.ndarray
    box: tuple[int, int, int, int]
    score: float


@dataclass(frozen=True)
class Scene:
    """One annotated image, ground truth known. `score` 0..1 or NaN where nobody knows it: people's labels have none."""

    image_id: str
    width: int
    height: int
    score: float
    flaws: tuple[Flaw, ...]
    areas: tuple[Area, ...]

    @property
    def whole(self) -> bool:
        """Whether the distortion covers the whole image."""
        return bool(self.flaws) and all(flaw.region is None for flaw in self.flaws)

    @property
    def ordered(self) -> bool:
        """Whether a region has several distortions of its own, so that their order can be asked about."""
        own = [flaw.region for flaw in self.flaws if flaw.region is not None]
        return len(own) > len(set(own))

    def area(self, region: int) -> Area:
        return next(area for area in self.areas if area.region == region)

    def flaws_of(self, region: int) -> tuple[Flaw, ...]:
        """What can be seen in a region, in the order applied: its own distortions and those of the whole image. Of the same
        kind its own is the one meant.
        """
        own = {flaw.category for flaw in self.own(region)}
        return tuple(flaw for flaw in self.flaws if flaw.region == region or (flaw.region is None and flaw.category not in own))

    def own(self, region: int) -> tuple[Flaw, ...]:
        """The distortions a region has to itself, in the order applied."""
        return tuple(flaw for flaw in self.flaws if flaw.region == region)

    @property
    def placed(self) -> tuple[str, ...]:
        """Categories that regions have and the whole image has not: asking where they are makes sense."""
        everywhere = {flaw.category for flaw in self.flaws if flaw.region is None}
        return tuple(dict.fromkeys(flaw.category for flaw in self.flaws if flaw.category not in everywhere))

    @property
    def faulty_areas(self) -> tuple[Area, ...]:
        """Regions that have a distortion of their own."""
        return tuple(area for area in self.areas if self.own(area.region))

    def cells(self, area: Area) -> tuple[int, int]:
        return grammar.box_cells(area.box, self.width, self.height)

    def phrase(self, area: Area) -> str:
        """`dark green region at the top left`: colour and position by the paper's rule."""
        vertical, horizontal = grammar.position(area.box, self.width, self.height)
        return f"{area.label} at the {vertical} {horizontal}"

    def alone(self, area: Area) -> bool:
        """Whether the phrase of a region fits no other region of the scene."""
        return [self.phrase(other) for other in self.areas].count(self.phrase(area)) == 1

    def place(self, area: Area) -> str:
        """`[dark green region](<63, 190>)`: the region with its box."""
        return str(grammar.Place(area.label, *self.cells(area)))

    def visible(self, reference: bool) -> bool:
        """False where a global fault cannot be seen without the reference (DepictQA-Wild, NR exclusion)."""
        return reference or all(
            flaw.region is not None or flaw.level >= distortions.categories()[flaw.category].nr_min_level for flaw in self.flaws
        )


@dataclass(frozen=True)
class Targets:
    """The truth behind an answer, in values."""

    categories: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    region_ids: tuple[int, ...] = ()
    boxes_cells: tuple[tuple[int, int], ...] = ()
    better: str | None = None
    kind: str = ""


@dataclass(frozen=True)
class Exchange:
    """One question with its answer. `labels` are the words of the answer that carry it (their confidence is read)."""

    task: str
    style: str
    question: str
    answer: str
    targets: Targets
    labels: tuple[str, ...] = field(default=())

    def spans(self) -> list[list[int]]:
        """[start, end) characters of the label words in the answer, in order."""
        spans, start = [], 0
        for label in self.labels:
            match = re.compile(rf"(?<!\w){re.escape(label)}(?!\w)").search(self.answer, start)
            if match is None:
                raise ValueError(f"label {label!r} is not in the answer {self.answer!r} after character {start}")
            start = match.end()
            spans.append([*match.span()])
        return spans


def fault_phrases(flaws: Sequence[Flaw]) -> list[str]:
    """`serious blur` for each distortion, in order, each once."""
    return list(dict.fromkeys(flaw.words for flaw in flaws))


def named(flaws: Sequence[Flaw]) -> tuple[str, ...]:
    """The categories of distortions, in order, each once."""
    return tuple(dict.fromkeys(flaw.category for flaw in flaws))


def levels(flaws: Sequence[Flaw]) -> tuple[float, ...]:
    return tuple(float(flaw.level) for flaw in flaws)


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of a sequence, uniformly."""
    return items[int(rng.integers(len(items)))]

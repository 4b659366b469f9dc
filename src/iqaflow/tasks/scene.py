"""What the questions are made from: one annotated image with its exact truth, and the question made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from iqaflow import distortions
from iqaflow.tasks import grammar


@dataclass(frozen=True)
class Flaw:
    """A distortion as applied. `region` is None for the whole image."""

    name: str
    category: str
    level: int
    severity: str
    order: int
    region: int | None


@dataclass(frozen=True)
class Area:
    """A region of a scene; `mask` (H, W) bool, `box` in pixels, `score` 0..1."""

    region: int
    label: str
    mask: np.ndarray
    box: tuple[int, int, int, int]
    score: float


@dataclass(frozen=True)
class Scene:
    """One annotated image, ground truth known."""

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

    def area(self, region: int) -> Area:
        return next(area for area in self.areas if area.region == region)

    def flaws_of(self, region: int) -> tuple[Flaw, ...]:
        return tuple(flaw for flaw in self.flaws if flaw.region in (None, region))

    @property
    def faulty_areas(self) -> tuple[Area, ...]:
        """Regions that have a distortion of their own."""
        return tuple(area for area in self.areas if any(flaw.region == area.region for flaw in self.flaws))

    def cells(self, area: Area) -> tuple[int, int]:
        return grammar.box_cells(area.box, self.width, self.height)

    def phrase(self, area: Area) -> str:
        """`dark green region at the top left`: colour and position by the paper's rule."""
        vertical, horizontal = grammar.position(area.box, self.width, self.height)
        return f"{area.label} at the {vertical} {horizontal}"

    def place(self, area: Area) -> str:
        return str(grammar.Place(area.label, *self.cells(area)))

    def visible(self, reference: bool) -> bool:
        """False where a global fault cannot be seen without the reference (DepictQA-Wild, NR exclusion)."""
        return reference or all(
            flaw.region is not None or flaw.level >= distortions.categories()[flaw.category].nr_min_level
            for flaw in self.flaws
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
            begin = self.answer.index(label, start)
            start = begin + len(label)
            spans.append([begin, start])
        return spans


def pick(rng: np.random.Generator, items):
    """One of a sequence, uniformly."""
    return items[int(rng.integers(len(items)))]

"""Rate an image or a region in one of five words; the score is the expectation over them (Q-Align's read-out)."""

from __future__ import annotations

import numpy as np

from iqaflow.tasks.grammar import RATINGS
from iqaflow.tasks.scene import Area, Exchange, Scene, Targets, pick

POOL = ("Rate the quality of the image.", "How good is the quality of this image?", "How would you rate this image?",
        "Give the quality level of the image.")
REGION = ("Rate the quality of the {}.", "How good is the quality of the {}?")
VALUES = tuple(index / (len(RATINGS) - 1) for index in range(len(RATINGS)))


def asked() -> str:
    return POOL[0]


def asked_region(scene: Scene, area: Area) -> str:
    return REGION[0].format(_named(scene, area))


def word(value: float) -> str:
    """The rating word nearest to a score 0..1."""
    return RATINGS[int(np.abs(np.array(VALUES) - value).argmin())]


def shares(value: float) -> np.ndarray:
    """A score 0..1 as a distribution (5,) over the rating words, between the two nearest: its expectation is the score."""
    return np.clip(1 - np.abs(np.array(VALUES) - value) * (len(RATINGS) - 1), 0, 1)


def questions(scene: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    exchanges = [Exchange("score", "brief", question, word(scene.score), Targets(kind="image"), (word(scene.score),))
                 for question in (asked(), pick(rng, POOL[1:]))[: 1 if reference else 2]]
    if scene.areas and not reference:
        area = pick(rng, scene.areas)
        targets = Targets(region_ids=(area.region,), boxes_cells=(scene.cells(area),), kind="region")
        said = word(area.score)
        exchanges.append(Exchange("score", "brief", asked_region(scene, area), said, targets, (said,)))
    return exchanges


def _named(scene: Scene, area: Area) -> str:
    vertical_horizontal = scene.phrase(area).removeprefix(area.label)
    return f"{scene.place(area)}{vertical_horizontal}"

"""Rate an image or a region in one of five words; the score is the expectation over them (Q-Align's read-out)."""

from __future__ import annotations

import numpy as np

from iqaflow.tasks import refer
from iqaflow.tasks.grammar import RATINGS
from iqaflow.tasks.phrasing import draw, filled, led
from iqaflow.tasks.phrasing.score import IMAGE, REGION
from iqaflow.tasks.scene import Area, Exchange, Scene, Targets, pick

VALUES = tuple(index / (len(RATINGS) - 1) for index in range(len(RATINGS)))


def asked() -> str:
    return IMAGE[0]


def asked_region(scene: Scene, area: Area) -> str:
    return filled(REGION[0], refer.named(scene, area), area.label)


def word(value: float) -> str:
    """The rating word nearest to a score 0..1; empty if nobody knows the score (NaN)."""
    if np.isnan(value):
        return ""
    return RATINGS[int(np.abs(np.array(VALUES) - value).argmin())]


def shares(value: float) -> np.ndarray:
    """A score 0..1 as a distribution (5,) over the rating words, between the two nearest: its expectation is the score."""
    return np.clip(1 - np.abs(np.array(VALUES) - value) * (len(RATINGS) - 1), 0, 1)


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    worded = [draw(rng, IMAGE, plain)]
    if reference and worded[0] != asked():
        worded = [led(rng, worded[0])]
    elif not reference and not plain:
        worded.append(pick(rng, IMAGE[1:]))
    answer = word(scene.score)
    exchanges = [Exchange("score", "brief", question, answer, Targets(kind="image"), (answer,))
                 for question in dict.fromkeys(worded) if answer]
    areas = [area for area in scene.areas if word(area.score)]
    if areas and not reference:
        area = pick(rng, areas)
        targets = Targets(region_ids=(area.region,), boxes_cells=(scene.cells(area),), kind="region")
        answer = word(area.score)
        question = filled(draw(rng, REGION, plain), refer.spoken(scene, area, rng, plain), area.label)
        exchanges.append(Exchange("score", "brief", question, answer, targets, (answer,)))
    return exchanges

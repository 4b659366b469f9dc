"""Rate an image or a region in one of five words; the score is the expectation over them (Q-Align's read-out)."""

from __future__ import annotations

import numpy as np

from iqaflow.data.rows import ConversationRow
from iqaflow.tasks import refer
from iqaflow.tasks.grading.checks import parsed
from iqaflow.tasks.grammar import RATINGS
from iqaflow.tasks.phrasing import draw, filled, led
from iqaflow.tasks.phrasing.score import IMAGE, REGION
from iqaflow.tasks.scene import Area, Exchange, Scene, Targets, pick
from iqaflow.tasks.task import Meant, Task
from iqaflow.tasks.vocabulary import Vocabulary

NARROW = 0.02  # below this spread only two words have a share that counts
MOST_TILT = 1e5
OPINIONS = 0.15  # spread of opinions where a file gives none: 0.6 of a step on a scale of 1..5, as rating studies find it
VALUES = tuple(index / (len(RATINGS) - 1) for index in range(len(RATINGS)))


def plain_question() -> str:
    return IMAGE[0]


def plain_region_question(scene: Scene, area: Area) -> str:
    return filled(REGION[0], refer.named(scene, area), area.label)


def word(value: float) -> str:
    """The rating word nearest to a score 0..1; empty if nobody knows the score (NaN)."""
    if np.isnan(value):
        return ""
    return RATINGS[int(np.abs(np.array(VALUES) - value).argmin())]


def shares(value: float, spread: float = 0.0) -> np.ndarray:
    """A score 0..1 as a distribution (5,) over the rating words whose expectation is the score.

    `spread` is the standard deviation of opinions on the same scale: their Gaussian over the five words, as in DeQA-Score (You et
    al., CVPR 2025). There the mean that the ends of the scale have moved is put back by a straight line, which can make shares
    negative; here the Gaussian's centre moves until the mean is the score. Without spread the score lies between the two nearest
    words, which is the same formula's limit.
    """
    values = np.array(VALUES)
    near = np.clip(1 - np.abs(values - value) * (len(RATINGS) - 1), 0, 1)
    if spread < NARROW or not 0 < value < 1:
        return near

    def gaussian(tilt: float) -> np.ndarray:  # a tilt by exp(t x) is a move of the centre by t times the variance
        logs = tilt * values - (values - value) ** 2 / (2 * spread**2)
        weights = np.exp(logs - logs.max())
        return weights / weights.sum()

    low, high = -MOST_TILT, MOST_TILT
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian(middle) @ values < value else (low, middle)
    return gaussian((low + high) / 2)


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    worded = [draw(rng, IMAGE, plain)]
    if reference and worded[0] != plain_question():
        worded = [led(rng, worded[0])]
    elif not reference and not plain:
        worded.append(pick(rng, IMAGE[1:]))
    answer = word(scene.score)
    exchanges = [
        Exchange("score", "brief", question, answer, Targets(kind="image"), (answer,))
        for question in dict.fromkeys(worded)
        if answer
    ]
    areas = [area for area in scene.areas if word(area.score)]
    if areas and not reference:
        area = pick(rng, areas)
        targets = Targets(region_ids=(area.region,), boxes_cells=(scene.cells(area),), kind="region")
        answer = word(area.score)
        question = filled(draw(rng, REGION, plain), refer.spoken(scene, area, rng, plain), area.label)
        exchanges.append(Exchange("score", "brief", question, answer, targets, (answer,)))
    return exchanges


def _closed(row: ConversationRow, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    return vocabulary.ratings if row["style"] == "brief" else None


def _check(answer: str, meant: Meant) -> str | None:
    return None if parsed(answer).rating else "names no rating word"


TASK = Task(
    name="score",
    about="image",
    questions=questions,
    headline="srcc",
    reference=True,
    closed=_closed,
    check=_check,
    value=lambda image: image["score"],
    rated=True,
    ungraded=lambda scene, exchange: True,
    place=8,
    question_place=2,
    benchmarked=3,
)

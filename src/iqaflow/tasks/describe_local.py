"""Describe one region only: its faults, their effect, its quality (IQA-Spider, task 2)."""

from __future__ import annotations

import numpy as np

from iqaflow.tasks import refer
from iqaflow.tasks.describe import credit, detailed_item
from iqaflow.tasks.grading import checks
from iqaflow.tasks.phrasing import draw, filled
from iqaflow.tasks.phrasing.describe_local import QUESTIONS, VERDICTS
from iqaflow.tasks.scene import Area, Exchange, Scene, pick
from iqaflow.tasks.score import word
from iqaflow.tasks.task import Task


def plain_question(scene: Scene, area: Area) -> str:
    return filled(QUESTIONS[0], refer.named(scene, area), area.label)


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    if reference or not scene.areas or not scene.visible(reference):
        return []
    area, template = refer.drawn(scene, rng), draw(rng, QUESTIONS, plain)
    varied = template != QUESTIONS[0]
    question = filled(template, refer.spoken(scene, area, rng, plain), area.label)
    answer, labels = refer.sentence(scene, area, rng, varied), refer.labels(scene, area)
    if verdict := word(area.score):
        answer = f"{answer} {(pick(rng, VERDICTS) if varied else VERDICTS[0]).format(verdict=verdict)}"
        labels = (verdict,)
    return [Exchange("describe_local", "detailed", question, answer, refer.targets(scene, area), labels)]


TASK = Task(
    name="describe_local",
    about="region",
    questions=questions,
    headline="bleu4",
    tokens=(80, 80),
    item=detailed_item,
    credit=credit,
    check=checks.categories_and_boxes,
    description=True,
    place=4,
    question_place=4,
    benchmarked=8,
)

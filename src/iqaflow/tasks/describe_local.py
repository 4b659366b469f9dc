"""Describe one region only: its faults, their effect, its quality (IQA-Spider, task 2)."""

from __future__ import annotations

import numpy as np

from iqaflow.tasks import refer
from iqaflow.tasks.scene import Area, Exchange, Scene, pick
from iqaflow.tasks.score import word

POOL = (
    "Describe the quality of the {}.",
    "How does the {} look in terms of quality?",
    "Give a quality description of the {} only.",
    "Explain the quality of the {} and what lowers it.",
)


def asked(scene: Scene, area: Area) -> str:
    return POOL[0].format(refer.named(scene, area))


def questions(scene: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    if reference or not scene.areas or not scene.visible(reference):
        return []
    return [describe(scene, refer.drawn(scene, rng), pick(rng, POOL))]


def describe(scene: Scene, area: Area, pool: str) -> Exchange:
    verdict = word(area.score)
    answer = f"{refer.sentence(scene, area)} Its quality is {verdict}."
    return Exchange("describe_local", "detailed", pool.format(refer.named(scene, area)), answer, refer.targets(scene, area),
                    (verdict,))

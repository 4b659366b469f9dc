"""Scenes with known truth, made without pictures, for tests of the tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from iqaflow import distortions, tasks
from iqaflow.distortions import SEVERITIES, SEVERITIES_PAIR
from iqaflow.tasks import ground
from iqaflow.tasks.grammar import TAIL
from iqaflow.tasks.scene import Area, Exchange, Flaw, Scene

WIDTH, HEIGHT = 100, 80
LABELS = ("dark green region", "sky", "grass", "stairs", "wooden floor", "group of people", "people", "larger dog")
CATEGORIES = sorted(distortions.categories())


def area(region: int, label: str, box: tuple[int, int, int, int], value: float = 1.0) -> Area:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return Area(region, label, mask, box, value)


def scene(areas: list[Area], flaws: list[Flaw], value: float = 1.0) -> Scene:
    return Scene("image", WIDTH, HEIGHT, value, tuple(flaws), tuple(areas))


def flaw(category: str, level: int, order: int, region: int | None, words: tuple[str, ...]) -> Flaw:
    return Flaw(distortions.categories()[category].functions[0], category, level, words[level - 1], order, region)


def random_scene(rng: np.random.Generator, people: bool = False) -> Scene:
    """Any scene that the annotation can make: up to five regions, clean, one or two distortions, ordered ones; or one that
    people label: any number of distortions in the whole image and in regions, no scores, no known order.
    """
    boxes = [(x, y, x + int(rng.integers(12, 25)), y + int(rng.integers(12, 30))) for x in (0, 30, 70) for y in (2, 45)]
    chosen = [boxes[at] for at in rng.permutation(len(boxes))[: int(rng.integers(0, 6))]]
    labels = [LABELS[int(rng.integers(len(LABELS)))] for _ in chosen]
    flaws, kind = [], rng.random()
    if people:
        places = [None, *range(len(chosen)), *range(len(chosen))]
        for region in (places[at] for at in rng.permutation(len(places))[: int(rng.integers(0, 5))]):
            category = CATEGORIES[int(rng.integers(12))]
            if (category, region) not in {(one.category, one.region) for one in flaws}:
                flaws.append(Flaw("", category, level := int(rng.integers(1, 6)), SEVERITIES[level - 1], len(flaws), region))
    elif kind < 0.5 and chosen and rng.random() < 0.85:
        regions = [int(at) for at in rng.permutation(len(chosen))[: int(rng.integers(1, 3))]]
        if rng.random() < 0.4 and len(chosen) > 1:
            regions = [int(at) for at in rng.permutation(len(chosen))[: int(rng.integers(2, 4))]]
            pairs = [ground.ORDERS[at] for at in rng.permutation(len(ground.ORDERS))]
            for region, pair in zip(regions, pairs, strict=False):
                flaws += [
                    flaw(category, int(rng.integers(1, 4)), len(flaws) + at, region, SEVERITIES_PAIR)
                    for at, category in enumerate(pair)
                ]
        else:
            flaws = [
                flaw(CATEGORIES[int(rng.integers(12 if at else 6))], int(rng.integers(1, 6)), at, region, SEVERITIES)
                for at, region in enumerate(regions)
            ]
    elif kind < 0.7:
        pair = distortions.allowed_pairs()[int(rng.integers(78))]
        flaws = [flaw(category, int(rng.integers(1, 4)), at, None, SEVERITIES_PAIR) for at, category in enumerate(pair)]
    elif kind < 0.9:
        flaws = [flaw(CATEGORIES[int(rng.integers(12))], int(rng.integers(1, 6)), 0, None, SEVERITIES)]
    areas = []
    for number, (label, box) in enumerate(zip(labels, chosen, strict=True)):
        mine = [one for one in flaws if one.region in (None, number)]
        areas.append(area(number, label, box, float(rng.uniform(0, 0.95)) if mine else 1.0))
    if people:
        return scene([replace(one, score=float("nan")) for one in areas], flaws, float("nan"))
    return scene(areas, flaws, float(rng.uniform(0, 1)) if flaws else 1.0)


def every(count: int, plain: bool = False, seed: int = 0, people: bool = False) -> Iterator[tuple[Scene, Exchange, bool]]:
    """(scene, exchange, reference) of `count` random scenes."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        made = random_scene(rng, people)
        for task in tasks.single():
            for reference in (False, True) if task.reference else (False,):
                for exchange in task.questions(made, reference, rng, plain):
                    yield made, exchange, reference


def wording(question: str) -> str:
    """A question without what differs from image to image: regions, names of distortions, the fixed tail."""
    names = "|".join(sorted(map(distortions.phrase, CATEGORIES), key=len, reverse=True))
    labels = "|".join(LABELS)
    plain = re.sub(rf"(\[[^\]]*\]\([^()]*\)|\b({labels})(?= at the))( at the \w+ \w+)?", "REGION", question.replace(TAIL, ""))
    return re.sub(rf"\b({names})\b", "DISTORTION", plain).strip()

"""Say what is wrong with a given region, as a short list or with effects (IQA-Spider, task 4)."""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.tasks.grammar import faults
from iqaflow.tasks.scene import Area, Exchange, Scene, Targets, pick

SHORT = (
    "List the distortions of the {} as short phrases.",
    "Which distortions does the {} have? Answer in short phrases.",
    "Name severity and distortion of the {}.",
    "What is wrong with the {}? Answer in short phrases.",
)
LONG = (
    "Explain the distortions of the {} and their effect.",
    "Which distortions does the {} have, and what do they do?",
    "Describe severity, distortion and effect for the {}.",
)


def named(scene: Scene, area: Area) -> str:
    """A region in a question: phrase, box and position words, `[dark green region](<63, 190>) at the top left`."""
    return f"{scene.place(area)}{scene.phrase(area).removeprefix(area.label)}"


def asked(scene: Scene, area: Area, style: str = "short") -> str:
    return (SHORT if style == "short" else LONG)[0].format(named(scene, area))


def questions(scene: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    if reference or not scene.areas or not scene.visible(reference):
        return []
    exchanges = [short(scene, area, pick(rng, SHORT)) for area in {area.region: area for area in (
        drawn(scene, rng), drawn(scene, rng))}.values()]
    return [*exchanges, long(scene, drawn(scene, rng), pick(rng, LONG))]


def short(scene: Scene, area: Area, pool: str) -> Exchange:
    flaws = scene.flaws_of(area.region)
    answer = faults([(flaw.severity, flaw.category) for flaw in flaws])
    labels = tuple(distortions.phrase(flaw.category) for flaw in flaws) or (answer,)
    return Exchange("refer", "brief", pool.format(named(scene, area)), answer, targets(scene, area), labels)


def long(scene: Scene, area: Area, pool: str) -> Exchange:
    labels = tuple(distortions.phrase(flaw.category) for flaw in scene.flaws_of(area.region))
    return Exchange("refer", "detailed", pool.format(named(scene, area)), sentence(scene, area), targets(scene, area),
                    labels or ("none",))


def sentence(scene: Scene, area: Area) -> str:
    from iqaflow.tasks.describe import EFFECTS

    flaws = scene.flaws_of(area.region)
    said = [f"{flaw.severity} {distortions.phrase(flaw.category)}, {EFFECTS[flaw.category]}" for flaw in flaws]
    return f"This region shows {', and '.join(said)}." if said else "This region shows none, it is clear."


def targets(scene: Scene, area: Area) -> Targets:
    flaws = scene.flaws_of(area.region)
    return Targets(tuple(flaw.category for flaw in flaws), tuple(float(flaw.level) for flaw in flaws), (area.region,),
                   (scene.cells(area),), kind="faulty" if flaws else "clear")


def drawn(scene: Scene, rng: np.random.Generator) -> Area:
    """A region to ask about: a faulty one two times in three, so that `none` does not dominate."""
    if scene.faulty_areas and rng.random() < 0.67:
        return pick(rng, scene.faulty_areas)
    return pick(rng, scene.areas)

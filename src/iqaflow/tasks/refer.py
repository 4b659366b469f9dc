"""Say what is wrong with a given region, as a short list or with effects (IQA-Spider, task 4).

A region is named by its phrase and position, by its box, or by both; tests give both.
"""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.data.rows import ConversationRow, ImageRow
from iqaflow.distortions import SEVERITIES
from iqaflow.tasks.grading import answers, checks
from iqaflow.tasks.grammar import faults
from iqaflow.tasks.phrasing import draw, filled, listed
from iqaflow.tasks.phrasing import refer as phrasing
from iqaflow.tasks.phrasing.effects import effect
from iqaflow.tasks.scene import Area, Exchange, Flaw, Scene, Targets, levels, pick
from iqaflow.tasks.task import Counted, Task
from iqaflow.tasks.vocabulary import Vocabulary

SHORT, LONG = phrasing.SHORT_SINGLE, phrasing.LONG_SINGLE


def named(scene: Scene, area: Area) -> str:
    """A region in a test question: phrase, box and position words, `[dark green region](<63, 190>) at the top left`."""
    return f"{scene.place(area)}{scene.phrase(area).removeprefix(area.label)}"


def spoken(scene: Scene, area: Area, rng: np.random.Generator, plain: bool = False) -> str:
    """A region in a question: both ways half the time, else the box alone, or the phrase alone where it fits no other."""
    if plain or (chance := rng.random()) < 0.5:
        return named(scene, area)
    return scene.phrase(area) if chance < 0.75 and scene.alone(area) else scene.place(area)


def plain_question(scene: Scene, area: Area, style: str = "short") -> str:
    return filled((SHORT if style == "short" else LONG)[0], named(scene, area), area.label)


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    if reference or not scene.areas or not scene.visible(reference):
        return []
    areas = {area.region: area for area in (drawn(scene, rng), drawn(scene, rng))}
    return [*(short(scene, area, rng, plain) for area in areas.values()), long(scene, drawn(scene, rng), rng, plain)]


def short(scene: Scene, area: Area, rng: np.random.Generator, plain: bool = False) -> Exchange:
    flaws = scene.flaws_of(area.region)
    pool = phrasing.SHORT_TWO if len(flaws) == 2 else phrasing.SHORT_SINGLE
    question = filled(draw(rng, pool, plain), spoken(scene, area, rng, plain), area.label)
    answer = faults([(flaw.severity, flaw.category) for flaw in flaws])
    return Exchange("refer", "brief", question, answer, targets(scene, area), labels(scene, area) or (answer,))


def long(scene: Scene, area: Area, rng: np.random.Generator, plain: bool = False) -> Exchange:
    pool = phrasing.LONG_TWO if len(scene.flaws_of(area.region)) == 2 else phrasing.LONG_SINGLE
    template = draw(rng, pool, plain)
    question = filled(template, spoken(scene, area, rng, plain), area.label)
    answer = sentence(scene, area, rng, template != pool[0])
    return Exchange("refer", "detailed", question, answer, targets(scene, area), labels(scene, area) or ("no",))


def sentence(scene: Scene, area: Area, rng: np.random.Generator, varied: bool) -> str:
    """What is wrong with a region and what it does; the plain wording unless `varied`."""
    words = {}
    flaws = scene.flaws_of(area.region)
    if len(flaws) > 2:  # people label as many as they see
        return f"This region shows {listed([_shown(flaw, rng, varied) for flaw in flaws])}."
    for number, flaw in enumerate(flaws):
        suffix = str(number + 1) if number else ""
        words[f"fault{suffix}"] = f"{flaw.severity} {distortions.phrase(flaw.category)}"
        words[f"effect{suffix}"] = effect(flaw.category, flaw.level, rng, varied)
    pool = (phrasing.CLEAR, phrasing.SINGLE, phrasing.TWO)[min(len(flaws), 2)]
    return (pick(rng, pool) if varied else pool[0]).format(**words)


def _shown(flaw: Flaw, rng: np.random.Generator, varied: bool) -> str:
    does = effect(flaw.category, flaw.level, rng, varied)
    return f"{flaw.severity} {distortions.phrase(flaw.category)}, which {does}"


def labels(scene: Scene, area: Area) -> tuple[str, ...]:
    return tuple(distortions.phrase(flaw.category) for flaw in scene.flaws_of(area.region))


def targets(scene: Scene, area: Area) -> Targets:
    flaws = scene.flaws_of(area.region)
    return Targets(
        tuple(flaw.category for flaw in flaws),
        levels(flaws),
        (area.region,),
        (scene.cells(area),),
        kind="faulty" if flaws else "clear",
    )


def drawn(scene: Scene, rng: np.random.Generator) -> Area:
    """A region to ask about: a faulty one two times in three, so that `none` does not dominate."""
    if scene.faulty_areas and rng.random() < 0.67:
        return pick(rng, scene.faulty_areas)
    return pick(rng, scene.areas)


def _calibrated(row: ConversationRow, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    """A short answer about at most one distortion: `assess` asks it as a closed set too."""
    return vocabulary.regions if row["style"] == "brief" and len(row["targets"]["categories"]) < 2 else None


def _item(row: ConversationRow, image: ImageRow) -> Counted:
    targets, answer = row["targets"], answers.given(row)
    names, levels = targets["categories"] or [], targets["levels"] or []
    findings = answers.findings(answer) or []
    if {category for _, category in findings} == set(names):
        target = answers.severities(answer)  # the answer's own words: pairs have three severities, not five
    else:
        words = [SEVERITIES[min(4, max(0, round(float(level)) - 1))] for level in levels]
        words += [""] * (len(names) - len(words))
        parts = (f"{word} {distortions.phrase(name)}".strip() for word, name in zip(words, names, strict=False))
        target = answers.severities(", ".join(parts) or answers.NONE)
    return Counted("short" if row["style"] == "brief" else "long", target, max(map(float, levels), default=0.0))


def _credit(target: str, text: str) -> tuple[str, float]:
    answer = answers.severities(text)
    return answer, answers.set_credit(target, answer)


TASK = Task(
    name="refer",
    about="region",
    questions=questions,
    headline="accuracy",
    calibrated=_calibrated,
    tokens=(24, 64),
    item=_item,
    credit=_credit,
    check=checks.categories_and_boxes,
    place=6,
    question_place=6,
    benchmarked=5,
)

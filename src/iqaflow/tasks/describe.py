"""Describe the whole image: what is wrong, where, what it does, the verdict (all three papers).

Detailed answers name places by inline boxes where the question asks for them (GIQA-DES), else by words.
"""

from __future__ import annotations

import numpy as np

from iqaflow.data.rows import ConversationRow, ImageRow
from iqaflow.tasks.grading import answers, checks
from iqaflow.tasks.phrasing import agreeing, draw, led, listed
from iqaflow.tasks.phrasing import describe as phrasing
from iqaflow.tasks.phrasing.effects import effect
from iqaflow.tasks.scene import Exchange, Flaw, Scene, Targets, fault_phrases, levels, pick
from iqaflow.tasks.score import word
from iqaflow.tasks.task import Counted, Task

BRIEF, DETAILED = phrasing.BRIEF, phrasing.BOXED
WORDS_SHARE = 0.4  # detailed descriptions without boxes
PLAIN_LABEL = "region"  # labels that end so are colours, not things


def plain_question(style: str) -> str:
    return (BRIEF if style == "brief" else DETAILED)[0]


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    if not scene.visible(reference):
        return []
    question = draw(rng, BRIEF, plain)
    short = [brief(scene, question, reference, rng, varied=question != BRIEF[0])] if word(scene.score) else []
    boxed = plain or rng.random() >= WORDS_SHARE
    if boxed:
        question = draw(rng, DETAILED, plain)
        varied = question != DETAILED[0]
        question = led(rng, question) if reference and varied else question
    else:
        question, varied = pick(rng, phrasing.REFERENCE if reference else phrasing.WORDS), True
    return [*short, detailed(scene, question, reference, rng, varied, boxed)]


def brief(scene: Scene, question: str, reference: bool, rng: np.random.Generator, varied: bool) -> Exchange:
    pool = phrasing.BRIEF_ANSWERS if scene.flaws else phrasing.BRIEF_CLEAN
    verdict = word(scene.score)
    answer = (pick(rng, pool) if varied else pool[0]).format(faults=listed(fault_phrases(scene.flaws) or [""]), verdict=verdict)
    if reference and varied:
        question = led(rng, question)
    return Exchange("describe", "brief", question, answer, targets(scene), (verdict,))


def detailed(scene: Scene, question: str, reference: bool, rng: np.random.Generator, varied: bool, boxed: bool) -> Exchange:
    """An answer in three parts: what can be seen (where labels say it) and what is wrong where, the rest, the verdict."""

    def worded(pool: tuple[str, ...]) -> str:
        return pick(rng, pool) if varied else pool[0]

    sentences, before = [], object()
    for flaw in sorted(scene.flaws, key=lambda flaw: -1 if flaw.region is None else flaw.region):
        template = worded(phrasing.MORE if varied and flaw.region == before else phrasing.FAULTS)
        sentences.append(_fault(scene, flaw, template, effect(flaw.category, flaw.level, rng, varied), boxed))
        before = flaw.region
    if not sentences:
        sentences = [worded(phrasing.CLEAN)]
    elif all(flaw.region is not None for flaw in scene.flaws) and (not varied or rng.random() < 0.7):
        sentences.append(worded(phrasing.REST))
    if reference and varied and scene.flaws and sentences[0].startswith("The ") and rng.random() < 0.5:
        sentences[0] = f"{phrasing.COMPARED}t{sentences[0][1:]}"
    if varied and (seen := content(scene)):
        sentences.insert(0, worded(phrasing.CONTENT).format(parts=seen))
    if verdict := word(scene.score):
        sentences.append(worded(phrasing.VERDICTS).format(verdict=verdict))
    return Exchange("describe", "detailed", question, " ".join(sentences), targets(scene, boxed), (verdict,) if verdict else ())


def content(scene: Scene) -> str:
    """`the sky, the grass and the person`, or nothing where fewer than two regions have class names."""
    things = {
        area.label: (area.box[2] - area.box[0]) * (area.box[3] - area.box[1])
        for area in scene.areas
        if not area.label.endswith(PLAIN_LABEL)
    }
    largest = sorted(things, key=lambda label: -things[label])[:4]
    return listed([f"the {thing}" for thing in largest]) if len(things) > 1 else ""


def _fault(scene: Scene, flaw: Flaw, template: str, does: str, boxed: bool) -> str:
    label, where = "image", "the whole image"
    if flaw.region is not None:
        area = scene.area(flaw.region)
        label, where = area.label, f"the {scene.place(area) if boxed else scene.phrase(area)}"
    return template.format(Where=f"The{where[3:]}", where=where, fault=flaw.words, effect=does, **agreeing(label))


def targets(scene: Scene, boxed: bool = True) -> Targets:
    local = tuple(dict.fromkeys(flaw.region for flaw in scene.flaws if flaw.region is not None))
    cells = tuple(scene.cells(scene.area(region)) for region in local) if boxed else ()
    return Targets(
        tuple(flaw.category for flaw in scene.flaws),
        levels(scene.flaws),
        local,
        cells,
        kind="global" if scene.whole or not scene.flaws else "local",
    )


def detailed_item(row: ConversationRow, image: ImageRow) -> Counted | None:
    """Descriptions count by their own words; short ones do not."""
    return Counted(row["reference_mode"] or "nr", answers.given(row)) if row["style"] == "detailed" else None


def credit(target: str, text: str) -> tuple[str, float]:
    return text, answers.set_credit(target, text)


TASK = Task(
    name="describe",
    about="image",
    questions=questions,
    headline="bleu4",
    reference=True,
    tokens=(160, 160),
    item=detailed_item,
    credit=credit,
    check=checks.categories_and_boxes,
    description=True,
    place=3,
    question_place=3,
    benchmarked=7,
)

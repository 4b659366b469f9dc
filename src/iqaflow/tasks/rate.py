"""Which of two images is better, briefly or with the reason (DepictQA-Wild, comparison)."""

from __future__ import annotations

import numpy as np

from iqaflow.data.rows import ConversationRow, ImageRow
from iqaflow.tasks import grammar
from iqaflow.tasks.grading.checks import parsed
from iqaflow.tasks.grammar import TAIL
from iqaflow.tasks.phrasing import draw, led, listed
from iqaflow.tasks.phrasing import rate as phrasing
from iqaflow.tasks.phrasing.effects import effect
from iqaflow.tasks.scene import Exchange, Scene, Targets, fault_phrases, pick
from iqaflow.tasks.task import Counted, Meant, Task
from iqaflow.tasks.vocabulary import Vocabulary

POOL, DETAILED = phrasing.BRIEF, phrasing.DETAILED
MIN_GAP = 0.08  # closer scores are a coin toss even for the metric that made them


def plain_question() -> str:
    return f"{POOL[0]} {TAIL}"


def questions(a: Scene, b: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    """Questions about images A and B; `kind` is `md` where one of them has several distortions, else `sd`."""
    if not abs(a.score - b.score) >= MIN_GAP:  # nor if one of them is NaN
        return []
    better, worse = ("Image A", "Image B") if a.score > b.score else ("Image B", "Image A")
    targets = Targets(better=better, kind="md" if max(len(a.flaws), len(b.flaws)) > 1 else "sd")
    worded = [plain_question()] if plain else [plain_question(), *(f"{pick(rng, POOL[1:])}{tail}" for tail in (f" {TAIL}", ""))]
    worded = worded if plain or rng.random() < 0.5 else worded[1:]
    if reference:
        worded = [question if question == plain_question() else led(rng, question) for question in worded]
    exchanges = []
    for question in worded:
        answer = better if question.endswith(TAIL) else pick(rng, phrasing.VERDICTS).format(better=better)
        exchanges.append(Exchange("rate", "brief" if answer == better else "detailed", question, answer, targets, (better,)))
    question = draw(rng, DETAILED, plain)
    varied = question != DETAILED[0]
    reason = _reason({"Image A": a, "Image B": b}, better, worse, reference, varied, rng)
    question = led(rng, question) if reference and varied else question
    return [*exchanges, Exchange("rate", "detailed", question, reason, targets, (better,))]


def _reason(scenes: dict[str, Scene], better: str, worse: str, reference: bool, varied: bool, rng: np.random.Generator) -> str:
    if not varied:
        return " ".join([f"{better} is better.", *(f"{name} shows {_faults(scene)}." for name, scene in scenes.items())])
    parts = [pick(rng, phrasing.VERDICTS).format(better=better)]
    for name, scene in scenes.items():
        if not scene.flaws:
            parts.append(pick(rng, phrasing.CLEAN).format(name=name))
            continue
        parts.append(pick(rng, phrasing.FAULTS).format(name=name, faults=_faults(scene)))
        if len(fault_phrases(scene.flaws)) == 1 and rng.random() < 0.6:  # of several, "it" would not say which
            flaw = scene.flaws[0]
            parts.append(pick(rng, phrasing.EFFECTS).format(effect=effect(flaw.category, flaw.level, rng)))
    if rng.random() < 0.6:
        closing = phrasing.CLOSING + (phrasing.CLOSING_REFERENCE if reference else ())
        parts.append(pick(rng, closing).format(better=better, worse=worse))
    return " ".join(parts)


def _faults(scene: Scene) -> str:
    return listed(fault_phrases(scene.flaws)) if scene.flaws else "no distortion"


def _closed(row: ConversationRow, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    return ("Image A", "Image B") if row["style"] == "brief" else None


def _item(row: ConversationRow, image: ImageRow) -> Counted | None:
    target = row["targets"]["better"]
    if row["style"] != "brief" or not target:
        return None
    return Counted(row["reference_mode"] or "nr", f"Image {target.strip()[-1]}")


def _credit(target: str, text: str) -> tuple[str, float]:
    better = grammar.parse(text).better or text
    return better, float(better == target)


def _check(answer: str, meant: Meant) -> str | None:
    """By the label words: a reason may mention both images."""
    chosen = parsed(meant.labels).better
    return None if chosen == meant.better else f"says {chosen}, the target is {meant.better}"


TASK = Task(
    name="rate",
    about="pair",
    questions=questions,
    headline="accuracy",
    reference=True,
    closed=_closed,
    item=_item,
    credit=_credit,
    check=_check,
    place=2,
    question_place=8,
    benchmarked=2,
)

"""Yes/no and what/which/why/how questions about regions (Grounding-IQA, GIQA-VQA).

The box stands in the question (referring) or in the answer (grounded). Yes and no are equally frequent, and so are the
four question words. `kind` is `yesno_CATEGORY`, `yesno_clear`, `what`, `why`, `how_CATEGORY`, `which_CATEGORY` or `which`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from iqaflow import distortions
from iqaflow.data.rows import ConversationRow, ImageRow
from iqaflow.tasks import refer
from iqaflow.tasks.grading import answers, checks
from iqaflow.tasks.grammar import TAIL, identification
from iqaflow.tasks.phrasing import draw, filled, listed
from iqaflow.tasks.phrasing import vqa as phrasing
from iqaflow.tasks.scene import Area, Exchange, Scene, Targets, named, pick
from iqaflow.tasks.task import Counted, Meant, Task
from iqaflow.tasks.vocabulary import Vocabulary

YES_NO, WHAT = phrasing.YES_NO, phrasing.WHAT
CLEAR_SHARE = 0.35  # of the `no` about a faulty region: as many as clear regions have `yes`
GROUNDED_SHARE = 0.4  # of the answers that could name the place
WORSE_GAP = 0.1  # regions whose scores differ less are not compared


def plain_question(scene: Scene, area: Area, category: str | None = None) -> str:
    """The test question: yes/no about a category, or what."""
    if category:
        return filled(YES_NO[0], scene.place(area), area.label, fault=distortions.phrase(category))
    return f"{filled(WHAT[0], scene.place(area), area.label)} {TAIL}"


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    if reference or not scene.areas or not scene.visible(reference):
        return []
    area = refer.drawn(scene, rng)
    exchanges = [_yes_no(scene, area, rng, plain)]
    if not plain and not scene.whole and rng.random() < 0.5:
        exchanges.append(_anywhere(scene, rng))
    if scene.flaws:
        area = area if scene.flaws_of(area.region) else pick(rng, scene.faulty_areas)
        grounded = bool(scene.faulty_areas) and not plain and rng.random() < GROUNDED_SHARE
        ways: list[Callable[..., Exchange]] = [_what, _why, _how]
        if _places(scene, area) or (not plain and _rivals(scene, area)):
            ways.append(_which)
        exchanges.append(pick(rng, ways)(scene, area, rng, plain, grounded))
    return exchanges


def _yes_no(scene: Scene, area: Area, rng: np.random.Generator, plain: bool) -> Exchange:
    """Yes or no about one region: a distortion it has or has not, or whether it is clear. The coin is tossed first."""
    present, yes = named(scene.flaws_of(area.region)), rng.random() < 0.5
    if (yes and not present) or (present and not yes and rng.random() < CLEAR_SHARE):
        template, about, words = draw(rng, phrasing.CLEAR, plain), "clear", {}
    else:
        about = pick(rng, present) if yes else _absent(scene, present, rng)
        template, words = draw(rng, YES_NO, plain), {"fault": distortions.phrase(about)}
    question = filled(template, _region(scene, area, rng, plain), area.label, **words)
    answer = "Yes" if yes else "No"
    return Exchange("vqa", "brief", question, answer, replace(refer.targets(scene, area), kind=f"yesno_{about}"), (answer,))


def _absent(scene: Scene, present: tuple[str, ...], rng: np.random.Generator) -> str:
    """A category a region does not have. Half of them come from elsewhere in the image, so that the box must be looked at."""
    elsewhere = [flaw.category for flaw in scene.flaws if flaw.category not in present]
    return pick(rng, elsewhere if elsewhere and rng.random() < 0.5 else sorted(set(distortions.categories()) - set(present)))


def _anywhere(scene: Scene, rng: np.random.Generator) -> Exchange:
    """Yes or no about the whole of an image that is clean or distorted in places; the answer says where."""
    pool: tuple[str, ...]
    yes = rng.random() < 0.5
    if not scene.flaws:
        about = "clear" if yes else _absent(scene, (), rng)
        pool = phrasing.YES_ALL_CLEAR if yes else phrasing.NO_CLEAN
        return _whole_image_exchange(about, pick(rng, pool), Targets(kind=f"yesno_{about}"), rng)
    area = pick(rng, scene.faulty_areas)
    if yes and scene.placed:
        about, pool = pick(rng, scene.placed), phrasing.YES_PRESENT
        area = pick(rng, _with(scene, about))
    else:
        yes = False
        clear = rng.random() < CLEAR_SHARE
        about = "clear" if clear else _absent(scene, named(scene.flaws), rng)
        pool = phrasing.NO_ALL_CLEAR if clear else phrasing.NO_PRESENT
    template = pick(rng, pool)
    targets = replace(refer.targets(scene, area), kind=f"yesno_{about}")
    words = [distortions.phrase(about)] if yes else [distortions.phrase(flaw.category) for flaw in scene.flaws_of(area.region)]
    if yes or "{fault}" not in template:
        targets = replace(targets, categories=(about,) if "{fault}" in template else (), levels=())
    answer = filled(template, scene.place(area), area.label, fault=listed(words))
    return _whole_image_exchange(about, answer, targets, rng)


def _whole_image_exchange(about: str, answer: str, targets: Targets, rng: np.random.Generator) -> Exchange:
    pool = phrasing.ALL_CLEAR if about == "clear" else phrasing.PRESENT
    fault = "" if about == "clear" else distortions.phrase(about)
    question = draw(rng, pool).format(fault=fault)
    return Exchange("vqa", "detailed", question, answer, targets, (answer[: answer.index(",")],))


def _what(scene: Scene, area: Area, rng: np.random.Generator, plain: bool, grounded: bool) -> Exchange:
    answer, labels, truth = _answer(scene, area, grounded)
    if grounded:
        return Exchange("vqa", "brief", draw(rng, phrasing.WHAT_WHERE), answer, replace(truth, kind="what"), labels)
    question = f"{filled(draw(rng, WHAT, plain), _region(scene, area, rng, plain), area.label)} {TAIL}"
    return Exchange("vqa", "brief", question, answer, replace(truth, kind="what"), labels)


def _why(scene: Scene, area: Area, rng: np.random.Generator, plain: bool, grounded: bool) -> Exchange:
    answer, labels, truth = _answer(scene, area, grounded)
    question = (
        draw(rng, phrasing.WHY_WHERE)
        if grounded
        else filled(draw(rng, phrasing.WHY, plain), _region(scene, area, rng, plain), area.label)
    )
    return Exchange("vqa", "brief", question, f"because of {answer}", replace(truth, kind="why"), labels)


def _answer(scene: Scene, area: Area, grounded: bool) -> tuple[str, tuple[str, ...], Targets]:
    """`blur and noise`, and where: in every region that is distorted the same way, or the one asked about."""
    present = named(scene.flaws_of(area.region))
    truth = replace(refer.targets(scene, area), categories=present)
    labels = tuple(distortions.phrase(category) for category in present)
    if not grounded:
        return identification(list(present)), labels, truth
    parts, words, regions = [], list[str](), scene.faulty_areas
    for other in regions:
        here = named(scene.flaws_of(other.region))
        parts.append(f"{identification(list(here))} in the {scene.place(other)}")
        words += [distortions.phrase(category) for category in here]
    truth = Targets(
        named(scene.flaws), (), tuple(other.region for other in regions), tuple(scene.cells(other) for other in regions)
    )
    return listed(parts), tuple(words), truth


def _how(scene: Scene, area: Area, rng: np.random.Generator, plain: bool, grounded: bool) -> Exchange:
    """How severe a distortion is: the answer is one severity word, and the place if the question asks for it."""
    flaw = pick(rng, scene.flaws_of(area.region))
    fault = distortions.phrase(flaw.category)
    truth = replace(refer.targets(scene, area), categories=(), levels=(float(flaw.level),), kind=f"how_{flaw.category}")
    if grounded and flaw.category in scene.placed and len(_with(scene, flaw.category)) == 1:
        question = draw(rng, phrasing.HOW_WHERE).format(fault=fault)
        return Exchange("vqa", "brief", question, f"{flaw.severity}, in the {scene.place(area)}", truth, (flaw.severity,))
    template = draw(rng, phrasing.HOW, plain)
    question = f"{filled(template, _region(scene, area, rng, plain), area.label, fault=fault)} {TAIL}"
    return Exchange("vqa", "brief", question, flaw.severity, truth, (flaw.severity,))


def _which(scene: Scene, area: Area, rng: np.random.Generator, plain: bool, grounded: bool) -> Exchange:
    """Which regions have a distortion, or which of two regions is worse; the answer is their boxes."""
    rivals, places = _rivals(scene, area), _places(scene, area)
    if places and (plain or grounded or not rivals):
        category = pick(rng, places)
        areas = _with(scene, category)
        question = draw(rng, phrasing.WHICH, plain).format(fault=distortions.phrase(category))
        kind = f"which_{category}"
    else:
        other = pick(rng, rivals)
        areas, kind = [min((area, other), key=lambda candidate: candidate.score)], "which"
        first, second = (area, other) if rng.random() < 0.5 else (other, area)
        question = filled(draw(rng, phrasing.WHICH_OF, plain), scene.place(first), "", other=scene.place(second))
    truth = Targets((), (), tuple(chosen.region for chosen in areas), tuple(scene.cells(chosen) for chosen in areas), kind=kind)
    answer = listed([scene.place(chosen) for chosen in areas])
    return Exchange("vqa", "brief", question, answer, truth, tuple(chosen.label for chosen in areas))


def _rivals(scene: Scene, area: Area) -> list[Area]:
    return [other for other in scene.areas if abs(other.score - area.score) > WORSE_GAP]


def _places(scene: Scene, area: Area) -> list[str]:
    """The distortions of a region that can be asked for by their place."""
    return [flaw.category for flaw in scene.own(area.region) if flaw.category in scene.placed]


def _with(scene: Scene, category: str) -> list[Area]:
    """Regions with a distortion of their own of a category."""
    return [area for area in scene.areas if any(flaw.category == category for flaw in scene.own(area.region))]


def _region(scene: Scene, area: Area, rng: np.random.Generator, plain: bool) -> str:
    """GIQA-VQA gives boxes; the phrase alone stands for one now and then."""
    return scene.place(area) if plain or rng.random() < 0.75 or not scene.alone(area) else scene.phrase(area)


def _closed(row: ConversationRow, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    return ("Yes", "No") if row["style"] == "brief" and row["targets"]["kind"].startswith("yesno") else None


def _item(row: ConversationRow, image: ImageRow) -> Counted | None:
    if row["style"] != "brief":
        return None
    target = answers.plain(answers.given(row))
    return Counted("yesno" if target in ("yes", "no") else "what", target)


def _credit(target: str, text: str) -> tuple[str, float]:
    answer = answers.plain(text)  # the order of two distortions does not matter
    return answer, float(answer == target or answers.severities(answer) == answers.severities(target))


def _check(answer: str, meant: Meant) -> str | None:
    if meant.kind.startswith("yesno"):
        return None if checks.parsed(answer).affirmed is not None else "says neither yes nor no"
    return checks.categories_and_boxes(answer, meant)


TASK = Task(
    name="vqa",
    about="region",
    questions=questions,
    headline="accuracy",
    closed=_closed,
    tokens=(32, 32),
    item=_item,
    credit=_credit,
    check=_check,
    ungraded=lambda scene, exchange: not exchange.targets.kind.startswith("how"),
    place=7,
    question_place=7,
    benchmarked=6,
)

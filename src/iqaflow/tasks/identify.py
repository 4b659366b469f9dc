"""Name the distortion(s) of an image, or none (DepictQA-Wild, brief assessment).

Half of the training questions tell the count (ONE, TWO) and half ask for a bare phrase; tests do both (papers 3.2).
"""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.data.rows import ConversationRow, ImageRow
from iqaflow.tasks.grading import answers, checks
from iqaflow.tasks.grammar import TAIL, identification
from iqaflow.tasks.phrasing import draw, listed
from iqaflow.tasks.phrasing import identify as phrasing
from iqaflow.tasks.scene import Exchange, Scene, Targets, fault_phrases, levels, named, pick
from iqaflow.tasks.task import Counted, Task
from iqaflow.tasks.vocabulary import Vocabulary

# the plain question that does not tell the count comes first
POOL = tuple(phrasing.FAMILIES[index].format(phrasing.UNCOUNTED[0]) for index in (1, 0, *range(2, len(phrasing.FAMILIES))))


def plain_question(count: int) -> str:
    """The test question: the count told, a bare phrase asked for (as DepictQA-Wild tests)."""
    return f"{_counted(phrasing.FAMILIES[0], count)} {TAIL}"


def questions(scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]:
    if not scene.visible(reference):
        return []
    categories = named(scene.flaws)
    count = max(len(categories), 1)
    targets = Targets(categories, levels(scene.flaws), kind="local" if scene.flaws and not scene.whole else "global")
    families = phrasing.FAMILIES_REFERENCE if reference else phrasing.FAMILIES
    if count > 2:  # only regions with several distortions each have more; a short answer names two at most
        return [] if plain else [_sentence(scene, _uncounted(families, reference, rng), targets, rng)]
    exchanges = [_brief(f"{_counted(draw(rng, families, plain), count)} {TAIL}", targets)]
    if plain:
        return exchanges
    says_count = rng.random() < 0.5
    question = _counted(draw(rng, families), count) if says_count else _uncounted(families, reference, rng)
    if rng.random() < 0.5:
        return [*exchanges, _brief(f"{question} {TAIL}", targets)]
    return [*exchanges, _sentence(scene, question, targets, rng)]


def _counted(family: str, count: int) -> str:
    return family.format(phrasing.COUNTS[2 if count == 2 else 1])


def _uncounted(families: tuple[str, ...], reference: bool, rng: np.random.Generator) -> str:
    question = draw(rng, families).format(pick(rng, phrasing.UNCOUNTED))
    return POOL[0] if question == POOL[1] and not reference else question


def _brief(question: str, targets: Targets) -> Exchange:
    answer = identification(list(targets.categories))
    labels = tuple(distortions.phrase(category) for category in targets.categories) or (answer,)
    return Exchange("identify", "brief", question, answer, targets, labels)


def _sentence(scene: Scene, question: str, targets: Targets, rng: np.random.Generator) -> Exchange:
    plain = question == POOL[0]
    if not scene.flaws:
        pool = phrasing.CLEAN_SENTENCES
        return Exchange("identify", "detailed", question, pool[0] if plain else pick(rng, pool), targets, ("no",))
    answer = (phrasing.SENTENCES[0] if plain else pick(rng, phrasing.SENTENCES)).format(listed(fault_phrases(scene.flaws)))
    return Exchange(
        "identify", "detailed", question, answer, targets, tuple(distortions.phrase(category) for category in targets.categories)
    )


def _closed(row: ConversationRow, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    """The count is told: of two all pairs in both orders, else one category or none."""
    if row["style"] != "brief":
        return None
    return vocabulary.ordered_pairs if len(row["targets"]["categories"]) == 2 else vocabulary.names


def _item(row: ConversationRow, image: ImageRow) -> Counted | None:
    if row["style"] != "brief":
        return None
    categories = row["targets"]["categories"] or []
    local = any(entry["region_id"] is not None for entry in image["distortions"])
    cell = "local" if local else ("clean", "single", "two")[min(len(categories), 2)]
    return Counted(f"{cell}_{row['reference_mode'] or 'nr'}", answers.label(identification(categories)))


def _credit(target: str, text: str) -> tuple[str, float]:
    answer = answers.label(text)
    return answer, answers.set_credit(target, answer)


TASK = Task(
    name="identify",
    about="image",
    questions=questions,
    headline="accuracy_single_nr",
    reference=True,
    closed=_closed,
    item=_item,
    credit=_credit,
    check=checks.categories_and_boxes,
    ungraded=lambda scene, exchange: exchange.style == "brief",
    place=1,
    question_place=1,
    benchmarked=1,
)

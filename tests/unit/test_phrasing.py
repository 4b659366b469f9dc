"""The sentences themselves: the test questions never change, pools are as large as the papers', no word says too much."""

from __future__ import annotations

import string

import pytest

from iqaflow import distortions
from iqaflow.engine.logit_lens import LEAST
from iqaflow.tasks import describe, describe_local, grammar, ground, identify, rate, refer, score, vqa
from iqaflow.tasks.phrasing import LEADS, agreeing, draw, filled, led, listed
from iqaflow.tasks.phrasing import describe as d
from iqaflow.tasks.phrasing import describe_local as dl
from iqaflow.tasks.phrasing import ground as g
from iqaflow.tasks.phrasing import identify as i
from iqaflow.tasks.phrasing import rate as r
from iqaflow.tasks.phrasing import refer as f
from iqaflow.tasks.phrasing import score as s
from iqaflow.tasks.phrasing import vqa as v
from iqaflow.tasks.phrasing.effects import EFFECTS
from iqaflow.tasks.scene import Scene
from tests.scenes import area, scene

# (pool, least size): the papers' numbers where they give one (IQA-Spider 1.1, Grounding-IQA 2.1, DepictQA-Wild 3.2)
QUESTIONS = {
    "identification": (i.FAMILIES, 24),
    "identification, reference": (i.FAMILIES_REFERENCE, 25),
    "rating": (r.BRIEF, 20),
    "rating, detailed": (r.DETAILED, 20),
    "global description": (d.WORDS, 26),
    "description with boxes": (d.BOXED, 15),
    "description, reference": (d.REFERENCE, 20),
    "brief description": (d.BRIEF, 8),
    "local description": (dl.QUESTIONS, 17),
    "worst": (g.WORST, 12),
    "best": (g.BEST, 12),
    "one distortion": (g.WORST_OF + g.BEST_OF, 16),
    "order": (g.ORDER + g.FIRST + g.LAST, 18),
    "refer, one, short": (f.SHORT_SINGLE, 14),
    "refer, one, long": (f.LONG_SINGLE, 14),
    "refer, two, short": (f.SHORT_TWO, 14),
    "refer, two, long": (f.LONG_TWO, 14),
    "score": (s.IMAGE, 8),
    "score of a region": (s.REGION, 8),
    "yes or no": (v.YES_NO, 8),
    "clear or not": (v.CLEAR, 5),
    "what": (v.WHAT + v.WHAT_WHERE, 12),
    "why": (v.WHY + v.WHY_WHERE, 12),
    "how": (v.HOW + v.HOW_WHERE, 12),
    "which": (v.WHICH + v.WHICH_OF, 12),
    "anywhere": (v.PRESENT + v.ALL_CLEAR, 12),
}
ANSWERS = {
    "identification": (i.SENTENCES, 8),
    "identification, clean": (i.CLEAN_SENTENCES, 4),
    "verdict": (r.VERDICTS, 5),
    "faults of one of two": (r.FAULTS, 5),
    "clean one of two": (r.CLEAN, 3),
    "closing": (r.CLOSING + r.CLOSING_REFERENCE, 5),
    "brief": (d.BRIEF_ANSWERS, 5),
    "brief, clean": (d.BRIEF_CLEAN, 4),
    "fault": (d.FAULTS, 6),
    "another fault": (d.MORE, 4),
    "content": (d.CONTENT, 3),
    "rest": (d.REST, 4),
    "clean": (d.CLEAN, 5),
    "overall": (d.VERDICTS, 5),
    "local": (dl.VERDICTS, 4),
    "one fault": (f.SINGLE, 6),
    "two faults": (f.TWO, 6),
    "clear": (f.CLEAR, 4),
    "where, yes": (v.YES_PRESENT, 3),
    "elsewhere": (v.NO_PRESENT, 3),
    "not clear": (v.NO_ALL_CLEAR, 3),
    "all clear": (v.YES_ALL_CLEAR + v.NO_CLEAN, 6),
    **{f"effect of {category}": (effects, 5) for category, effects in EFFECTS.items()},
}
TEST_QUESTIONS = {
    identify.plain_question(0): "Name the ONE distortion of the image. Answer with a single word or phrase.",
    identify.plain_question(1): "Name the ONE distortion of the image. Answer with a single word or phrase.",
    identify.plain_question(2): "Name the TWO distortions of the image. Answer with a single word or phrase.",
    identify.POOL[0]: "What distortion does the image show?",
    score.plain_question(): "Rate the quality of the image.",
    rate.plain_question(): "Which image has the better quality? Answer with a single word or phrase.",
    rate.DETAILED[0]: "Compare the quality of both images and explain the choice.",
    describe.plain_question("brief"): "Describe the quality of the image briefly.",
    describe.plain_question("detailed"): "Describe the quality of the image in detail, with boxes.",
    ground.plain_question("worst"): "Where is the quality worst?",
    ground.plain_question("best"): "Which distorted region is degraded the least?",
    ground.plain_question("worst_contrast_weaken"): "Where is the insufficient contrast strongest?",
    ground.plain_question("best_blur"): "Where is the blur weakest?",
    ground.plain_question(
        "order_contrast_weaken_saturate_weaken"
    ): "Which region was distorted by insufficient contrast first and by insufficient saturation after that?",
    ground.plain_question("first_blur"): "Which region was distorted by blur first, before another distortion?",
    ground.plain_question("last_noise"): "Which region was distorted by noise last, after another distortion?",
}


@pytest.fixture
def one() -> Scene:
    return scene([area(0, "dark green region", (10, 20, 50, 60))], [])


def test_test_questions_are_what_models_were_trained_on(one):
    for said, known in TEST_QUESTIONS.items():
        assert said == known
    named, box = "[dark green region](<63, 190>) at the top left", "[dark green region](<63, 190>)"
    the = area(0, "dark green region", (15, 12, 52, 38))
    assert refer.plain_question(one, the) == f"List the distortions of the {named} as short phrases."
    assert refer.plain_question(one, the, "long") == f"Explain the distortions of the {named} and their effect."
    assert describe_local.plain_question(one, the) == f"Describe the quality of the {named}."
    assert score.plain_region_question(one, the) == f"Rate the quality of the {named}."
    assert vqa.plain_question(one, the, "noise") == f"Is the {box} affected by noise?"
    assert vqa.plain_question(one, the) == f"What distortion affects the {box}? Answer with a single word or phrase."
    # the single templates that inference fills in itself
    assert refer.SHORT[0].format(region="it") == "List the distortions of the it as short phrases."
    assert score.REGION[0].format(region="it") == "Rate the quality of the it."


@pytest.mark.parametrize("name", QUESTIONS)
def test_question_pools_are_as_large_as_the_papers(name):
    pool, least = QUESTIONS[name]
    assert len(set(pool)) == len(pool) >= least
    for question in pool:
        assert (question[0].isupper() or question[0] == "{") and question[-1] in ".?" and "  " not in question


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_templates_vary_and_say_nothing_of_their_own(name):
    pool, least = ANSWERS[name]
    assert len(set(pool)) == len(pool) >= least
    for template in pool:
        bare = "".join(text for text, *_ in string.Formatter().parse(template)).replace("Image", "")
        said = {bare[start:end] for start, end in grammar.spans(bare)}
        read = grammar.parse(bare)
        assert said <= {"Yes", "No", grammar.WHOLE}, template
        assert not read.categories and read.rating is None and read.severity is None and read.vertical is None, template


def test_every_category_has_effects_and_every_order_is_allowed():
    assert set(EFFECTS) == set(distortions.categories())
    assert len(ground.ORDERS) == len(set(ground.ORDERS)) == 11  # IQA-Spider, table of orders
    assert set(ground.ORDERS) - {("contrast_weaken", "saturate_weaken")} <= set(distortions.allowed_pairs())


def test_only_questions_about_the_weakest_place_say_so():
    """The lens reads from these words whether the most or the least is asked for."""
    for weakest, pool in ((False, g.WORST + g.WORST_OF + g.ORDER + g.FIRST + g.LAST), (True, g.BEST + g.BEST_OF)):
        for question in pool:
            assert any(word in question.lower() for word in LEAST) == weakest, question
            assert not grammar.parse(question).categories


def test_counts_are_told_in_every_family():
    for families in (i.FAMILIES, i.FAMILIES_REFERENCE):
        assert all(family.count("{}") == 1 for family in families)
    assert identify.POOL[1] == "Name the distortion of the image." and len(identify.POOL) == len(i.FAMILIES)


def test_verbs_agree_with_labels():
    for label, verb in (
        ("dark green region", "is"),
        ("grass", "is"),
        ("bus", "is"),
        ("group of people", "is"),
        ("leaves", "are"),
        ("two people", "are"),
        ("tennis racket", "is"),
        ("stairs", "are"),
        ("", "is"),
    ):
        assert agreeing(label)["is_"] == verb, label
    assert filled("{Does} the {region} show {fault}?", "stairs", "stairs", fault="blur") == "Do the stairs show blur?"
    assert listed(["a", "b", "a", "c"]) == "a, b and c" and listed(["a", "a"]) == "a"


def test_leads_and_draws():
    import numpy as np

    rng = np.random.default_rng(0)
    assert {led(rng, "Which is better?").removesuffix("which is better?") for _ in range(200)} == set(LEADS)
    assert "I need" in led(rng, "I need a report.")
    drawn = [draw(rng, "abcde") for _ in range(4000)]
    assert 0.22 < drawn.count("a") / 4000 < 0.28 and 0.16 < drawn.count("e") / 4000 < 0.22
    assert {draw(rng, "abcde", plain=True) for _ in range(20)} == {"a"}

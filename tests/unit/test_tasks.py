"""Every question of every task about any scene: the answer reads back to its truth, questions are balanced and varied."""

from __future__ import annotations

import re
from collections import Counter
from math import isnan

import numpy as np
import pytest

from iqaflow import tasks
from iqaflow.distortions import SEVERITIES, SEVERITIES_PAIR
from iqaflow.tasks import grammar, ground, rate, score, vqa
from iqaflow.tasks.grammar import TAIL
from iqaflow.tasks.scene import Exchange, Flaw, Scene, Targets, fault_phrases
from tests.scenes import HEIGHT, WIDTH, area, every, flaw, random_scene, scene, wording


def check(made: Scene, one: Exchange) -> None:
    """Raises if an answer does not say its targets, all of them and nothing else."""
    said_, targets = grammar.parse(one.answer), one.targets
    boxes = [(place.first, place.last) for place in said_.places if place.last is not None]
    about = [flaw for region in targets.region_ids for flaw in made.flaws_of(region)]
    if one.task == "identify":
        assert set(said_.categories) == set(targets.categories)
        assert (one.style == "brief") == one.question.endswith(TAIL)
        if one.style == "detailed":
            assert set(said_.faults) == {(flaw.severity, flaw.category) for flaw in made.flaws}
    elif one.task == "score":
        truth = made.area(targets.region_ids[0]).score if targets.kind == "region" else made.score
        assert said_.rating == score.word(truth) == one.answer
    elif one.task in ("describe", "describe_local"):
        local = one.task == "describe_local"
        flaws = made.flaws_of(targets.region_ids[0]) if local else made.flaws
        assert set(said_.faults) == {(flaw.severity, flaw.category) for flaw in flaws}
        assert (said_.rating or "") == score.word(made.area(targets.region_ids[0]).score if local else made.score)
        if not local and one.style == "detailed":
            assert sorted(set(boxes)) == sorted(targets.boxes_cells)
    elif one.task == "refer":
        assert [flaw.category for flaw in about] == list(said_.categories) == list(targets.categories)
        assert said_.faults == tuple((flaw.severity, flaw.category) for flaw in about)
        assert one.style == "detailed" or one.answer == (", ".join(fault_phrases(about)) or "none")
    elif one.task == "ground":
        check_place(made, one, said_, boxes)
    elif one.task == "vqa":
        check_vqa(made, one, said_, boxes)


def check_place(made: Scene, one: Exchange, said_: grammar.Answer, boxes: list) -> None:
    kind, _, rest = one.targets.kind.partition("_")
    if made.whole:
        assert said_.whole and not said_.places and one.answer == grammar.WHOLE
        return
    the = made.area(one.targets.region_ids[0])
    assert (said_.vertical, said_.horizontal) == grammar.position(the.box, WIDTH, HEIGHT)
    point, box = said_.places
    assert boxes == [made.cells(the)] == list(one.targets.boxes_cells) and point.label == box.label == the.label
    x, y = grammar.centre(point.first)
    assert the.mask[
        int((y - 0.025) * HEIGHT) : int((y + 0.025) * HEIGHT) + 1, int((x - 0.025) * WIDTH) : int((x + 0.025) * WIDTH) + 1
    ].any()
    mine = [flaw.category for flaw in made.flaws_of(the.region)]
    asked = grammar.parse(one.question).categories
    if kind in ("worst", "best") and not rest:
        ranks = {
            area.region: -sum(flaw.level for flaw in made.flaws_of(area.region)) if isnan(area.score) else area.score
            for area in made.faulty_areas
        }
        assert ranks[the.region] == (min if kind == "worst" else max)(ranks.values()) and not asked
    elif kind in ("worst", "best"):
        assert rest in mine and asked == (rest,) and rest in made.placed
        rivals = [flaw.level for flaw in made.flaws if flaw.category == rest]
        level = next(flaw.level for flaw in made.flaws_of(the.region) if flaw.category == rest)
        if made.ordered or isnan(the.score):
            assert level == (max if kind == "worst" else min)(rivals) and rivals.count(level) == 1
    else:
        pairs = [tuple(flaw.category for flaw in made.flaws_of(area.region)) for area in made.faulty_areas]
        found = {
            "order": ["_".join(pair) for pair in pairs],
            "first": [pair[0] for pair in pairs],
            "last": [pair[-1] for pair in pairs],
        }[kind]
        assert found.count(rest) == 1 and rest == {"order": "_".join(mine), "first": mine[0], "last": mine[-1]}[kind]
        assert asked == (tuple(mine) if kind == "order" else (rest,)) and len(mine) == 2


def check_vqa(made: Scene, one: Exchange, said_: grammar.Answer, boxes: list) -> None:
    kind, _, rest = one.targets.kind.partition("_")
    assert set(boxes) <= set(one.targets.boxes_cells) and set(said_.categories) <= {flaw.category for flaw in made.flaws}
    regions = one.targets.region_ids
    has = {flaw.category for flaw in (made.flaws_of(regions[0]) if one.style == "brief" and regions else made.flaws)}
    if kind == "yesno":
        assert said_.affirmed == (not has if rest == "clear" else rest in has)
        assert one.style == "detailed" or one.answer in ("Yes", "No")
        return
    assert one.style == "brief"
    if kind in ("what", "why"):
        assert (
            set(said_.categories)
            == set(one.targets.categories)
            == {flaw.category for region in regions for flaw in made.flaws_of(region)}
        )
        assert not boxes or boxes == list(one.targets.boxes_cells)
    elif kind == "how":
        the = next(flaw for flaw in made.flaws_of(regions[0]) if flaw.category == rest)
        assert said_.severity == the.severity and one.targets.levels == (the.level,)
    elif rest:
        assert list(regions) == [
            area.region
            for area in made.faulty_areas
            if any(flaw.category == rest and flaw.region == area.region for flaw in made.flaws)
        ]
        assert boxes == list(one.targets.boxes_cells)
    else:
        named = grammar.parse(one.question).places
        assert len(named) == 2 and boxes == list(one.targets.boxes_cells)
        first, second = (next(area for area in made.areas if made.cells(area) == (place.first, place.last)) for place in named)
        assert made.area(regions[0]).score == min(first.score, second.score)


@pytest.mark.parametrize(("plain", "people"), [(False, False), (True, False), (False, True), (True, True)])
def test_every_answer_says_its_targets(plain, people):
    for made, one, _ in every(500, plain, people=people):
        check(made, one)
        text = f"{one.question} {one.answer}"
        assert not re.search(r"[{}]|  |\.\.|, \.|\b(a|the|and) \1\b", text), text
        assert one.question[0].isupper() and one.question[-1] in ".?"
        for start, end in one.spans():
            assert 0 <= start < end <= len(one.answer)
        assert [one.answer[start:end] for start, end in one.spans()] == list(one.labels)


def test_answers_are_whole_sentences_where_they_are_detailed():
    for _, one, _ in every(200, seed=5):
        if one.style == "detailed":
            assert one.answer[0].isupper() and one.answer[-1] == ".", one.answer
            subject = re.search(r"(?:^|\. )The \[?(?:people|stairs)(?:\]\([^)]*\))?(?: at the \w+ \w+)? (\w+)", one.answer)
            assert subject is None or subject[1] in ("show", "suffer", "are", "have"), one.answer


def test_test_questions_have_one_wording_each():
    found: dict[str, set[str]] = {}
    for _, one, _ in every(400, plain=True):
        found.setdefault(one.task, set()).add(wording(one.question))
    assert {task: len(wordings) for task, wordings in found.items()} == {
        "identify": 2,
        "score": 2,
        "describe": 2,
        "describe_local": 1,
        "refer": 2,
        "ground": 7,
        "vqa": 8,
    }, found


def test_no_wording_dominates():
    """The most frequent template of a task is its test question, a quarter of its pool's draws."""
    asked: dict[str, Counter[str]] = {}
    for _, one, _ in every(1500, seed=2):
        asked.setdefault(one.task, Counter())[wording(one.question)] += 1
    for task, counts in asked.items():
        (_, top), *_ = common = counts.most_common(3)
        assert top / counts.total() < 0.28, (task, common)
        assert sum(count for _, count in common) / counts.total() < 0.6 and len(counts) >= 17, (task, common)


def test_yes_and_no_are_balanced_however_asked():
    answers = Counter()
    for _, one, _ in every(3000, seed=3):
        if one.targets.kind.startswith("yesno"):
            answers[one.style, one.targets.kind == "yesno_clear", one.answer.split(",")[0].rstrip(".")] += 1
    total = Counter()
    for (style, clear, word), count in answers.items():
        total[word] += count
        other = answers[style, clear, "No" if word == "Yes" else "Yes"]
        assert 0.25 < count / (count + other) < 0.75, (style, clear, answers)
    assert 0.47 < total["Yes"] / total.total() < 0.53


def test_question_words_and_forms_are_balanced():
    words, grounded = Counter(), Counter()
    for made, one, _ in every(3000, seed=4):
        kind = one.targets.kind.partition("_")[0]
        if one.task == "vqa" and kind != "yesno":
            words[kind] += 1
            if made.faulty_areas:
                grounded[bool(grammar.parse(one.answer).places)] += 1
    assert all(0.2 < count / words.total() < 0.3 for count in words.values()) and len(words) == 4, words
    assert 0.3 < grounded[True] / grounded.total() < 0.7


def test_counts_told_in_half_and_tails_in_most():
    rows = [one for made, one, _ in every(1500, seed=6) if one.task == "identify" and len(one.targets.categories) < 3]
    told = [bool(re.search(r"\b(ONE|TWO)\b", one.question)) for one in rows]
    assert 0.7 < np.mean(told) < 0.8  # one always tells it, the other half the time
    assert 0.7 < np.mean([one.style == "brief" for one in rows]) < 0.8
    for one in rows:
        assert "TWO" not in one.question or len(one.targets.categories) == 2
        assert "ONE" not in one.question or len(one.targets.categories) < 2


def test_pairs_name_the_better_image_first_and_either_side_wins():
    rng, better, styles = np.random.default_rng(7), Counter(), Counter()
    for number in range(800):
        a, b = random_scene(rng), random_scene(rng)
        reference, plain = bool(number % 2), number % 5 == 0
        exchanges = rate.questions(a, b, reference, rng, plain)
        assert bool(exchanges) == (abs(a.score - b.score) >= rate.MIN_GAP)
        for one in exchanges:
            truth = "Image A" if a.score > b.score else "Image B"
            assert grammar.parse(one.answer).better == one.targets.better == truth and one.spans()[0][0] == 0
            assert one.style == "brief" or one.answer.startswith(truth)
            assert one.targets.kind == ("md" if max(len(a.flaws), len(b.flaws)) > 1 else "sd")
            better[truth] += 1
            styles[one.style, one.question.endswith(TAIL)] += 1
            if one.style == "detailed" and one.answer.count(".") > 2:
                for flaws in (a.flaws, b.flaws):
                    assert {(flaw.severity, flaw.category) for flaw in flaws} <= set(grammar.parse(one.answer).faults)
    assert 0.45 < better["Image A"] / better.total() < 0.55
    assert styles["brief", False] == styles["detailed", True] == 0


def test_orders_are_asked_only_where_they_are_known():
    pair = [flaw("blur", 2, 0, 0, SEVERITIES_PAIR), flaw("noise", 2, 1, 0, SEVERITIES_PAIR)]
    other = [flaw("compression", 2, 2, 1, SEVERITIES_PAIR), flaw("noise", 3, 3, 1, SEVERITIES_PAIR)]
    areas = [area(0, "sky", (0, 0, 40, 30), 0.4), area(1, "grass", (0, 40, 90, 79), 0.6)]
    made = scene(areas, [*pair, *other], 0.7)
    kinds = {one.targets.kind for one in ground.questions(made, False, np.random.default_rng(0))}
    assert {"order_blur_noise", "order_compression_noise", "first_blur", "first_compression"} <= kinds
    assert not {"last_noise"} & kinds and made.ordered  # both end with noise
    people = [Flaw("", one.category, one.level, one.severity, one.order, one.region) for one in made.flaws]
    kinds = {one.targets.kind for one in ground.questions(scene(areas, people, 0.7), False, np.random.default_rng(0))}
    assert not any(kind.startswith(("order", "first", "last")) for kind in kinds)
    plainly = scene(areas, [flaw("blur", 2, 0, 0, SEVERITIES), flaw("noise", 2, 1, 1, SEVERITIES)], 0.7)
    assert not plainly.ordered


def test_what_cannot_be_seen_is_not_asked_about():
    faint = scene([area(0, "sky", (0, 0, 40, 30), 0.97)], [flaw("brighten", 1, 0, None, SEVERITIES)], 0.97)
    rng = np.random.default_rng(0)
    for task in ("identify", "describe", "describe_local", "ground", "refer", "vqa"):
        assert tasks.find(task).questions(faint, False, rng) == []
    assert tasks.find("identify").questions(faint, True, rng) and not vqa.questions(faint, True, rng)


def test_a_label_that_is_not_said_is_an_error():
    broken = Exchange("vqa", "brief", "?", "the unblurred sky", Targets(), ("blur",))
    with pytest.raises(ValueError, match="is not in the answer"):
        broken.spans()


def test_grammar_reads_a_lone_severity():
    assert grammar.parse("serious, in the [sky](<0, 21>)").severity == "serious"
    assert grammar.parse("slight blur").severity == "slight" and grammar.parse("slightly").severity is None

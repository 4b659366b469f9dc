"""What people labelled and wrote: exact masks, scenes, and nothing asked that they did not say."""

from __future__ import annotations

import numpy as np
import pytest

from iqaflow import distortions
from iqaflow.annotate import dialogues, people
from iqaflow.annotate.imports import Finding, Item
from iqaflow.data import masks
from iqaflow.distortions import SEVERITIES
from iqaflow.tasks.scene import Flaw, Scene


def test_shapes_are_exact():
    box = people.mask(("box", (2, 3, 7, 9)), 20, 30)
    assert box.sum() == 30 and box[3:9, 2:7].all()
    assert people.mask(("box", (-5, -5, 1e6, 2)), 20, 30).sum() == 60, "cut at the border"
    assert np.array_equal(people.mask(("polygons", ((2, 3, 7, 3, 7, 9, 2, 9),)), 20, 30), box)
    both = people.mask(("polygons", ((2, 3, 7, 3, 7, 9, 2, 9), (4, 3, 9, 3, 9, 9, 4, 9))), 20, 30)
    assert both.sum() == 42, "overlapping parts are a union"
    noise = np.random.default_rng(0).random((20, 30)) < 0.5
    rle = masks.encode_mask(noise)
    runs = np.diff(np.flatnonzero(np.r_[True, np.diff(noise.T.ravel().astype(int)) != 0, True])).tolist()
    counts = runs if not noise[0, 0] else [0, *runs]
    for drawn in (rle, {"size": [20, 30], "counts": rle["counts"].encode()}, {"size": [20, 30], "counts": counts}):
        assert np.array_equal(people.mask(("rle", drawn), 20, 30), noise)


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (Finding(("box", (5, 5, 5, 9)), ()), "no area"),
        (Finding(("box", (50, 5, 60, 9)), ()), "outside"),
        (Finding(("polygons", [[2, 2, 1e9, 2, 5, 5]]), ()), "far outside"),
        (Finding(("box", (float("nan"), 5, 6, 9)), ()), "numbers that are none"),
        (Finding(("box", (1, 2, 3)), ()), "3 numbers"),
        (Finding(("polygons", ()), ()), "no outline"),
        (Finding(("polygons", ((1, 1, 5, 5),)), ()), "fewer than 3"),
        (Finding(("polygons", ((1, 1, 5, 5, 1, 5, 1),)), ()), "half a corner"),
        (Finding(("rle", {"size": [20, 31], "counts": [620]}), ()), "size"),
        (Finding(("rle", {"size": [20, 30], "counts": [600]}), ()), "empty"),
        (Finding(("rle", {"size": [20, 30], "counts": [10, 5]}), ()), "not a valid"),
        (Finding(("rle", {"size": [20, 30], "counts": "garbage"}), ()), "not a valid"),
        (Finding(("circle", ()), ()), "unknown"),
        (Finding(None, (("rain", 3),)), "rain"),
        (Finding(None, (("blur", 9),)), "level 9"),
        (Finding(None, (), score=1.5), "outside 0..1"),
        (Finding(("box", (0, 0, 5, 5)), (("blur", None),), "sky", 0.5), None),
        (Finding(None, ()), None),
    ],
)
def test_findings_are_checked(finding, said):
    reason = people.fault(finding, 20, 30)
    assert reason is None if said is None else said in reason


def scene(*findings: Finding, score: float | None = None) -> tuple[Scene, bool]:
    red = np.full((80, 100, 3), (200, 30, 30), np.uint8)
    return people.scene(Item((("image", "a"),), findings, score=score), "x", 80, 100, lambda: red)


def test_findings_make_a_scene():
    made, graded = scene(
        Finding(("box", (0, 0, 40, 40)), (("blur", 4), ("noise", 1)), "Sky-other-merged"),
        Finding(("polygons", ((0, 0, 40, 0, 40, 40, 0, 40),)), (("compression", 2.6), ("blur", 1))),  # the same region again
        Finding(("box", (10, 10, 20, 20)), (("darken", 5),), "noise"),  # no name: it reads as a verdict
        Finding(("box", (60, 50, 90, 70)), (), "dog", 0.9),
        Finding(("box", (0, 0, 100, 79)), (("pixelate", 3),)),  # the whole image but a line
        score=0.25,
    )
    assert graded and made.score == 0.25 and [area.label for area in made.areas] == ["sky", "red region", "dog"]
    assert [area.box for area in made.areas] == [(0, 0, 40, 40), (10, 10, 20, 20), (60, 50, 90, 70)]
    assert np.isnan(made.areas[0].score) and made.areas[2].score == 0.9
    own = {
        region: [(flaw.category, flaw.level, flaw.severity) for flaw in made.flaws if flaw.region == region]
        for region in (None, 0, 1, 2)
    }
    assert own[None] == [("pixelate", 3, "obvious")] and own[2] == []
    assert own[0] == [("blur", 4, "serious"), ("noise", 1, "slight"), ("compression", 3, "obvious")]
    assert [name for name, _, _ in own[1]] == ["darken", "blur", "noise", "compression"], "it lies in the sky"
    assert [flaw.order for flaw in made.flaws] == list(range(8)) and {flaw.name for flaw in made.flaws} == {""}


def test_nothing_is_asked_whose_answer_needs_a_severity_nobody_gave():
    box = [("box", (0, 0, 40, 40)), ("box", (60, 50, 90, 70))]
    two = scene(Finding(box[0], (("blur", None),), "sky"), Finding(box[1], (("blur", 2), ("noise", None)), "dog"))
    single = scene(Finding(box[0], (("blur", None), ("noise", None)), "sky"), Finding(box[1], (), "dog"))
    whole = scene(Finding(None, (("brighten", None),)))
    item, asked = Item((), (Finding(None, ()),)), {}
    for name, (made, graded) in {"two": two, "single": single, "whole": whole}.items():
        assert not graded
        asked[name] = [
            one for seed in range(60) for one in people.exchanges(item, made, graded, np.random.default_rng(seed), seed % 2 == 0)
        ]
        for exchange in asked[name]:
            words = set(exchange.answer.lower().replace(",", " ").split())
            assert not words & {*SEVERITIES, people.UNGRADED} and "?" not in exchange.answer and exchange.targets.levels == ()
            assert not exchange.targets.kind.startswith("how")
            exchange.spans()
    assert {one.task for one in asked["two"]} == {"identify", "vqa"}, "nobody knows which is worse"
    assert {one.task for one in asked["single"]} == {"identify", "vqa", "ground"}
    assert {one.targets.region_ids for one in asked["single"] if one.task == "ground"} == {(0,)}
    assert {(one.task, one.answer) for one in asked["whole"]} == {("identify", distortions.phrase("brighten"))}
    assert {one.style for one in asked["two"] if one.task == "identify"} == {"brief"}


def test_whole_images_are_identified_and_described_in_short():
    item = Item((), (Finding(None, ()),))

    def tasks(made, item=item):
        return {
            (one.task, one.style)
            for seed in range(20)
            for one in people.exchanges(item, *made, np.random.default_rng(seed), False)
        }

    assert tasks(scene(Finding(None, (("blur", 3),)), score=0.3)) == {
        ("identify", "brief"),
        ("identify", "detailed"),
        ("describe", "brief"),
        ("score", "brief"),
    }
    assert tasks(scene(Finding(None, (("blur", 3),)))) == {
        ("identify", "brief"),
        ("identify", "detailed"),
        ("describe", "detailed"),
    }, "without a score there is no verdict"
    assert tasks(scene(Finding(None, (("brighten", 1),)))) == {
        ("identify", "brief"),
        ("identify", "detailed"),
        ("describe", "detailed"),
    }, "people saw it, however slight"
    assert tasks(scene(score=0.3), Item((), score=0.3)) == {("score", "brief")}, "a rated image is not said to be clean"


@pytest.mark.parametrize(
    ("question", "answer", "task", "style"),
    [
        ("Is it sharp?", "Yes, mostly.", "vqa", "brief"),
        (
            "Is it sharp?",
            "No. " + "The leaves in the lower part of the photo lost nearly all of their texture.",
            "vqa",
            "detailed",
        ),
        ("What is wrong?", "Blur and noise.", "identify", "brief"),
        ("What is wrong?", "none", "identify", "brief"),
        ("What is blurred?", "The tree.", "vqa", "brief"),
        (
            "How is it?",
            "It was taken at night, and most of the scene is too dark to be recognized at all.",
            "describe",
            "detailed",
        ),
    ],
)
def test_the_task_of_a_dialogue(question, answer, task, style):
    made = dialogues.turn(question, answer, Scene("x", 10, 10, float("nan"), (), ()))
    assert (made.task, made.style, made.question, made.answer) == (task, style, question, answer)
    assert made.targets.kind == "imported" and made.targets.categories == () and made.targets.better is None
    assert all(0 <= start < end <= len(answer) for start, end in dialogues.spans(made))


@pytest.mark.parametrize(
    ("question", "answer", "better"),
    [
        ("Which image is better?", "Image B", "Image B"),
        ("Which image has higher quality?", "The quality of image a is preferred.", "Image A"),
        ("Which image is worse?", "Image B", None),
        ("Which image is brighter?", "Image B", None),
        ("Which one is better?", "Image A is better than Image B.", None),  # either order says either
        ("Which one is better?", "Neither, not even Image A.", None),
    ],
)
def test_the_better_image_is_known_without_doubt_or_not_at_all(question, answer, better):
    made = dialogues.turn(question, answer, None)
    assert made.task == "rate" and made.targets.better == better


def test_mentioned_categories_are_targets_only_where_people_found_them():
    flaws = (Flaw("", "blur", 3, "obvious", 0, None),)
    made = dialogues.turn("How is it?", "There is blur but no noise.", Scene("x", 10, 10, float("nan"), flaws, ()))
    assert made.targets.categories == ("blur",)

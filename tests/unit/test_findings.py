"""From a model's answers to findings: which distortions are listed, which places are regions, what is left out.

The answers are given, so that every number can be checked; what becomes of them is the real code.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from iqaflow.engine import calibration
from iqaflow.grounding.ground import Grounding
from iqaflow.infer import findings
from iqaflow.infer.assessor import Assessor
from iqaflow.infer.picture import Subject
from iqaflow.infer.regions import RegionPrompt, region_prompt
from iqaflow.tasks import grammar, ground
from iqaflow.tasks.vocabulary import current

Box = tuple[int, int, int, int]


class Judge(Assessor):
    """Uncalibrated, with a model that sees everything pixel by pixel; an answer is the place itself."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(budget=10**9, ids=list, vocabulary=current()), calibration.defaults(), {})

    def ground(self, image: np.ndarray, spatial: list[Box] | str) -> Grounding:
        """Boxes in shares of a hundred, or the whole image."""
        height, width = image.shape[:2]
        map_ = np.zeros((100, 100))
        boxes = [(0, 0, 100, 100)] if spatial == "whole" else spatial
        for value, (x0, y0, x1, y1) in zip((1.0, 0.8, 0.6), boxes, strict=False):
            map_[y0:y1, x0:x1] = value
        mask = map_[np.arange(height) * 100 // height][:, np.arange(width) * 100 // width] > 0
        x0, y0 = boxes[0][:2]
        return Grounding(
            mask, [((x0 + 3) * width / 100, (y0 + 3) * height / 100)], [], (0, 1), (0, 0, 1, 1), spatial == "whole", map_, 0.75
        )


class Session:
    """What a model answers: chances of phrases for each image or region's name, and places for each question."""

    def __init__(self, chances: dict, places: dict | None = None) -> None:
        self.chances, self.places = chances, places or {}

    def choose(self, prompts, candidates, ended=True):
        return np.log(np.maximum([self._row(prompt, list(candidates)) for prompt in prompts], 1e-9))

    def _row(self, prompt, candidates):
        if candidates == list(grammar.RATINGS):
            return [0.1, 0.2, 0.4, 0.2, 0.1]
        if len(candidates) == 5:  # severities of one distortion
            return [0, 0, 0.25, 0.75, 0]
        key = next(key for key in self.chances if key == prompt.item or f"[{key}]" in prompt.question)
        worded = {
            f"serious {phrase}" if candidates == list(current().regions) and phrase != "none" else phrase: chance
            for phrase, chance in self.chances[key].items()
        }
        return [worded.get(candidate, 0.0) for candidate in candidates]

    def spatial(self, prompts):
        return [(self.places[prompt.question], "sky") for prompt in prompts]


def subject(height: int = 100, width: int = 100) -> Subject:
    pixels = np.full((height, width, 3), 128, np.uint8)
    return Subject(pixels, {"path": None, "width": width, "height": height})


def listed(*phrases: str) -> list[dict]:
    return [{"category": grammar.phrases()[phrase], "phrase": phrase} for phrase in phrases]


def found(places: dict, *phrases: str, height: int = 100, width: int = 100) -> list[RegionPrompt]:
    """Places of one image that suffers from `phrases`; `places` by kind of question."""
    session = Session({}, {ground.plain_question(kind): place for kind, place in places.items()})
    return findings.places(Judge(), session, [subject(height, width)], [listed(*phrases)])[0]


def test_distortions_are_listed_by_chance_down_to_a_fifth():
    session = Session(
        {
            0: {"noise": 0.3, "blur": 0.45, "pixelation": 0.15, "none": 0.1},
            1: {"noise": 0.3, "none": 0.7},
            2: {"blur": 0.19, "noise": 0.18, "none": 0.1},
        }
    )
    assert set(session.chances[0]) <= set(current().names)
    both, clean, unsure = findings.distortions(Judge(), session, [subject()] * 3)
    assert [one["phrase"] for one in both] == ["blur", "noise"] and clean == []
    assert [one["phrase"] for one in unsure] == ["blur", "noise"]  # chances are of one another: .19 / .47 and .18 / .47
    assert both[0]["confidence"] == both[0]["probability"] == 0.45 and both[0]["category"] == "blur"
    assert both[0]["severity"] == "serious" and both[0]["level"] == 3.75  # .25 * 3 + .75 * 4


def test_several_distortions_have_several_places():
    made = found({"worst": [(0, 0, 30, 30)], "worst_noise": [(0, 1, 31, 30)], "worst_blur": [(60, 60, 90, 90)]}, "noise", "blur")
    assert [one.box for one in made] == [(0, 0, 30, 30), (60, 60, 90, 90)]  # noise is where it is worst: the same place
    assert [one.label for one in made] == ["sky", "sky"] and {one.confidence for one in made} == {0.75}


def test_one_distortion_is_asked_about_once_and_clean_images_not_at_all():
    assert [one.box for one in found({"worst": [(10, 20, 40, 50)]}, "noise")] == [(10, 20, 40, 50)]
    assert found({}) == []


def test_overlapping_places_are_one_from_half_on():
    def count(x0: int) -> int:
        return len(
            found(
                {"worst": [(0, 0, 60, 60)], "worst_noise": [(x0, 0, x0 + 60, 60)], "worst_blur": [(0, 0, 60, 60)]},
                "noise",
                "blur",
            )
        )

    assert count(19) == 1 and count(21) == 2  # 41 / 79 = .52, 39 / 81 = .48


def test_a_place_in_two_parts_is_two_and_the_second_is_named_by_its_colour():
    first, second = found({"worst": [(0, 0, 40, 40), (60, 60, 95, 95)]}, "noise")
    assert first.label == "sky" and second.label == "gray region"
    assert first.points == [(3.0, 3.0)] and 60 <= second.points[0][0] < 95
    assert len(found({"worst": [(0, 0, 40, 40), (90, 90, 95, 95)]}, "noise")) == 1  # a speck beside a place is none


def test_there_are_never_more_than_six():
    boxes = [(12 * at, 0, 12 * at + 10, 40) for at in range(8)]
    names = sorted(grammar.phrases())[:8]
    kinds = {f"worst_{grammar.phrases()[name]}": [box] for name, box in zip(names, boxes, strict=True)}
    assert len(found({"worst": [boxes[0]], **kinds}, *names)) == findings.MOST_REGIONS


def test_the_whole_image_is_said_so():
    (only,) = found({"worst": "whole"}, "noise", height=80)
    assert only.label == grammar.WHOLE and only.box == (0, 0, 100, 80) and only.mask.all() and only.cells == (0, 399)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (960, 1280), (901, 1207), (700, 90)])
def test_places_are_in_pixels_of_the_original(height, width):
    last = (80, 80, 100, 100)
    (made,) = found({"worst": [last]}, "noise", height=height, width=width)
    rows, columns = np.flatnonzero(made.mask.any(1)), np.flatnonzero(made.mask.any(0))
    assert made.mask.shape == (height, width) and made.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.subtract(made.box, (0.8 * width, 0.8 * height, width, height))).max() <= max(2, max(height, width) / 640)
    ((x, y),) = made.points
    assert made.mask[int(y), int(x)] and made.cells[1] == 399


def test_a_point_at_the_very_edge_stays_on_the_image():
    place = Judge().ground(np.zeros((480, 640, 3)), [(50, 50, 100, 100)])
    place.points[0] = (640 - 1e-3, 480 - 1e-3)  # as far as a read-out goes
    for size in ((480, 640), (960, 1280)):
        asked = findings.in_original(subject(*size).pixels, subject(480, 640).pixels, place, None, grammar.GRID)
        ((x, y),) = asked.points
        assert asked.mask[int(y), int(x)]


def region(label: str) -> RegionPrompt:
    return region_prompt(subject().pixels, (10, 10, 50, 50), None, None, label)


CLEAR, NOISY = {"none": 0.9, "noise": 0.1}, {"noise": 0.8, "blur": 0.1, "none": 0.1}


def test_a_second_place_that_is_called_clear_is_left_out_and_a_given_one_stays():
    def labels(*names: str, given: bool = False) -> list[str]:
        session = Session({"lake": CLEAR, "hill": CLEAR, "barn": NOISY})
        regions = findings.regions(Judge(), session, [subject()], [[region(name) for name in names]], given)
        return [one["label"] for one in regions[0]]

    assert labels("barn", "lake") == ["barn"] and labels("lake", "barn") == ["lake", "barn"]
    assert labels("lake", "hill") == ["lake"]  # the first stays: it is where the model pointed
    assert labels("barn", "lake", given=True) == ["barn", "lake"] and labels() == []


def test_a_region_says_what_is_wrong_there_and_how_sure_that_is():
    session = Session({"barn": NOISY, "lake": {"noise": 0.35, "blur": 0.4, "none": 0.25}, "hill": CLEAR})
    wanted = [region(name) for name in ("barn", "lake", "hill")]
    barn, lake, hill = findings.regions(Judge(), session, [subject()], [wanted], given=True)[0]
    assert [(one["phrase"], one["confidence"], one["severity"]) for one in barn["distortions"]] == [("noise", 0.8, "serious")]
    assert [(one["phrase"], one["confidence"]) for one in lake["distortions"]] == [("blur", 0.4), ("noise", 0.35)]
    assert hill["distortions"] == [] and hill["confidence"] == 0.9 and barn["confidence"] == 0.8
    assert barn["score"]["level"] == "fair" and barn["score"]["value"] == 0.5 and barn["score"]["confidence"] == 0.4


def test_regions_come_back_to_their_images():
    session = Session({"barn": NOISY, "lake": CLEAR})
    wanted = [[region("barn")], [], [region("lake"), region("barn")]]
    assert [[one["label"] for one in several] for several in findings.regions(Judge(), session, [subject()] * 3, wanted)] == [
        ["barn"],
        [],
        ["lake", "barn"],
    ]

"""The assessor in Python: batches, regions and large images say the same however they are asked."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import skimage
from PIL import Image

import iqaflow
from iqaflow import distortions
from iqaflow.core.errors import InputError
from iqaflow.data.masks import decode_mask
from iqaflow.infer.assessor import Assessor
from iqaflow.tasks import grammar
from tests.alike import alike


@pytest.fixture(scope="module")
def assessor(model) -> Assessor:
    """The small model, which has learnt too little to find anything, made bold: nothing is clean, no place is the whole image."""
    loaded = iqaflow.load(model)
    loaded.record |= {
        "gate": {"threshold": 50.0},
        "clean": {"offset": -9.0},
        "segmenter": {"name": "map", "options": {}},
        "confidence": {"identify": {"temperature": 1.0}, "refer": {"temperature": 0.5}},
    }
    return loaded


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """A photograph of 900x1200 with one noisy part."""
    image = cv2.resize(skimage.data.coffee(), (1200, 900), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((900, 1200), bool)
    mask[100:500, 600:1100] = True
    return distortions.apply_in_mask(image, mask, "noise_gaussian_RGB", 5, np.random.default_rng(0))


@pytest.fixture(scope="module")
def answers(assessor, large) -> dict:
    found = assessor.assess(large)
    assert found["distortions"] and found["regions"]  # or there is nothing to test
    return found


@pytest.fixture(scope="module")
def pictures(large) -> list[np.ndarray]:
    """Of several sizes and shapes, small and large."""
    coffee = skimage.data.coffee()
    return [
        coffee[:64, :64].copy(),
        coffee[100:190, 50:180].copy(),
        large[:400, 500:1100].copy(),
        coffee[:8, :300].copy(),
        distortions.apply(coffee[:128, :128].copy(), "blur_gaussian", 5, np.random.default_rng(0)),
    ]


def untimed(result: dict) -> dict:
    return {key: value for key, value in result.items() if key != "timing_ms"}


def test_a_batch_gives_what_one_by_one_gives(assessor, pictures):
    question = "What is wrong with the quality of this image?"
    together = assessor.assess_all(pictures, question)
    for picture, result in zip(pictures, together, strict=True):
        assert alike(untimed(result), untimed(assessor.assess(picture, question=question)))
        assert (result["image"]["height"], result["image"]["width"]) == picture.shape[:2]


def test_a_bad_image_of_a_batch_has_its_error_in_its_place(assessor, pictures, tmp_path):
    good = io.BytesIO()
    Image.fromarray(pictures[0]).save(good, "PNG")
    found = assessor.assess_all([b"no image", good.getvalue(), tmp_path / "missing.png", np.zeros((4, 90, 3), np.uint8)])
    assert [isinstance(one, InputError) for one in found] == [True, False, True, True]
    assert "missing.png" in str(found[2]) and "90x4" in str(found[3])
    assert alike(untimed(found[1]), untimed(assessor.assess(good.getvalue())))
    assert assessor.assess_all([]) == [] and isinstance(assessor.assess_all([b""])[0], InputError)


def test_chances_are_chances(answers):
    for score in (answers["score"], *(region["score"] for region in answers["regions"])):
        assert sum(score["distribution"].values()) == pytest.approx(1, abs=1e-3)
        assert score["confidence"] == max(score["distribution"].values()) == score["distribution"][score["level"]]
        assert score["value"] == pytest.approx(np.dot(list(score["distribution"].values()), [0, 0.25, 0.5, 0.75, 1]), abs=1e-3)
    for listed in (answers["distortions"], *(region["distortions"] for region in answers["regions"])):
        assert sum(one["confidence"] for one in listed) <= 1 + 1e-3
        assert listed == sorted(listed, key=lambda one: -one["confidence"])
        assert all(1 <= one["level"] <= 5 and 0 <= one["probability"] <= 1 for one in listed)
        assert all(grammar.phrases()[one["phrase"]] == one["category"] for one in listed)


def test_regions_of_a_large_image_are_in_its_own_pixels(answers):
    for region in answers["regions"]:
        mask = decode_mask(region["mask_rle"])
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.shape == (900, 1200)
        assert region["box_xyxy"] == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert region["cells"] == list(grammar.box_cells(tuple(region["box_xyxy"]), 1200, 900))
        assert all(0 <= x < 1200 and 0 <= y < 900 for x, y in region["points"])


def test_a_large_image_twice_is_the_same_twice(assessor, large, answers):
    assert untimed(assessor.assess(large)) == untimed(answers)
    assert assessor.score([large, large])[0] == assessor.score([large])[0]


def test_the_score_of_a_large_image_is_that_of_its_assessment(assessor, large, answers, pictures):
    """Of twenty tiles all are read; a small image between does not mind."""
    small, big = assessor.score([pictures[0], large])
    assert alike(big, answers["score"]) and alike(small, assessor.assess(pictures[0])["score"])


def test_the_description_of_a_large_image_says_what_was_found(answers):
    brief, detailed = (grammar.parse(answers["description"][style]) for style in ("brief", "detailed"))
    listed = {one["category"] for one in answers["distortions"]}
    local = {
        one["category"] for region in answers["regions"] if region["label"] != grammar.WHOLE for one in region["distortions"]
    }
    assert set(brief.categories) == set(detailed.categories) == listed | local
    assert brief.rating == detailed.rating


@pytest.mark.parametrize(
    "where",
    [
        {"region": (20, 10, 60, 50)},
        {"point": (30, 30)},
        {"phrase": "the red cup"},
        {"region": (20, 10, 60, 50), "phrase": "the cup"},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_region_examined_alone_is_that_of_the_assessment(assessor, pictures, large, size, where):
    image = pictures[1] if size == "small" else large
    (region,) = assessor.assess(image, **where)["regions"]
    assert alike(assessor.examine(image, **where), region)
    if "region" in where:
        assert region["box_xyxy"] == list(where["region"])


def test_a_large_region_is_examined_like_its_mask(assessor, large):
    """The whole image is far more than a model sees at once: it is looked at in tiles."""
    box, mask = assessor.examine(large, (0, 0, 1200, 900)), assessor.examine(large, mask=np.ones((900, 1200), bool))
    assert box == mask and box["mask_rle"]["size"] == [900, 1200]
    with pytest.raises(InputError, match="Give a region"):
        assessor.examine(large)


def test_versions_are_compared_where_they_differ(assessor, large):
    clean = cv2.resize(skimage.data.coffee(), (1200, 900), interpolation=cv2.INTER_CUBIC)
    (one,) = assessor.compare(large, clean)["differences"]
    assert np.abs(np.subtract(one["box_xyxy"], (600, 100, 1100, 500))).max() <= 40
    assert decode_mask(one["mask_rle"]).shape == (900, 1200) and set(one["images"]) == {"Image A", "Image B"}
    values = {name: entry["score"]["value"] for name, entry in one["images"].items()}
    assert one["better"] in values and 0.5 <= one["confidence"] <= 1 and values["Image A"] != values["Image B"]


def test_what_cannot_differ_in_places_has_no_differences(assessor, pictures):
    assert assessor.compare(pictures[0], pictures[0])["differences"] == []
    assert assessor.compare(pictures[0], pictures[1])["differences"] is None  # of other sizes

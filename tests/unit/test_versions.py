"""What differs where between two pictures, from their pixels alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import skimage

from iqaflow import distortions
from iqaflow.grounding.ground import Grounding, parts
from iqaflow.infer.assessor import Assessor
from iqaflow.infer.descriptions import descriptions
from iqaflow.infer.differences import changed
from iqaflow.serve.page import views
from iqaflow.tasks.vocabulary import current

COFFEE = skimage.data.coffee()


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("noise_gaussian_RGB", 2),
        ("brightness_darken_shift_RGB", 2),
        ("pixelate", 4),
        ("saturate_weaken_HSV", 4),
        ("contrast_weaken_scale", 3),
    ],
)
def test_the_distorted_place_is_found(name, level):
    rows, columns = np.mgrid[: COFFEE.shape[0], : COFFEE.shape[1]]
    place = ((columns - 300) / 130) ** 2 + ((rows - 200) / 110) ** 2 < 1
    masks = changed(COFFEE, distortions.apply_in_mask(COFFEE, place, name, level, np.random.default_rng(0)))
    found = np.any(masks, axis=0)
    assert (found & place).sum() / (found | place).sum() > 0.6


def test_two_photographs_are_no_versions_of_one():
    """Not even smooth ones, which any measure of similarity likes; one picture stays itself however dark or noisy."""
    cat = np.ascontiguousarray(skimage.data.chelsea()[:, :400])
    for other in (COFFEE[:300, :400], skimage.data.rocket()[:300, 100:500]):
        assert changed(cat, np.ascontiguousarray(other)) is None
    for name in ("noise_gaussian_RGB", "brightness_darken_gamma_RGB", "blur_gaussian"):
        assert changed(cat, distortions.apply(cat, name, 5, np.random.default_rng(0)))
    assert changed(cat, cat) == [] and changed(cat, cat[:, :200]) is None
    grey = np.full((60, 80, 3), 90, np.uint8)
    assert len(changed(grey, grey + 60)) == 1


def test_equal_images_are_not_asked_about():
    told = Assessor(SimpleNamespace(), {}, {}).compare(COFFEE, COFFEE.copy())
    assert told["better"] == "neither" and told["regions"] == told["differences"] == []
    assert "equal, pixel by pixel" in views.comparison(told)


def test_the_place_of_a_difference_is_not_called_a_guess():
    one = {"distortions": [], "score": {"value": 0.5}}
    told = {"regions": [], "differences": [{"label": "sky", "confidence": 0.7, "images": {"Image A": one, "Image B": one}}]}
    for found in views.sides(told).values():
        assert "sure" not in views.legend(found)


def test_a_description_says_the_word_of_the_score():
    """The word nearest to the value may be another one, and two words for one image are one too many."""
    told = descriptions(
        {
            "image": {"height": 900, "width": 900},
            "regions": [],
            "distortions": [],
            "score": {"value": 0.68, "level": "excellent"},
        },
        current(),
    )
    assert "excellent" in told["brief"] and "good" not in told["brief"]


def test_a_place_has_one_point_inside_it():
    mask = np.zeros((40, 40), bool)
    mask[20:30, 20:30] = True
    place = Grounding(mask, [(5.0, 5.0), (25.0, 25.0), (22.0, 22.0)], [], (0, 399), (0, 0, 40, 40), False, np.ones((20, 20)), 0.5)
    (part,), (off,) = parts(place), parts(Grounding(**{**place.__dict__, "points": [(5.0, 5.0)]}))
    assert part.points == [(25.0, 25.0)] and mask[int(off.points[0][1]), int(off.points[0][0])]

"""The full-reference score: 1 for the same picture, falling with every distortion's level, a region's own affair."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import skimage

from iqaflow import distortions
from iqaflow.annotate.views import REACH
from iqaflow.iqa import mdsi
from iqaflow.tasks.score import word

LEVELS = range(1, 6)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Four packaged photographs of different content, reduced to 128 px (H, W, 3)."""
    return [
        cv2.resize(load(), (160, 128), interpolation=cv2.INTER_AREA)
        for load in (skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea, skimage.data.rocket)
    ]


@pytest.mark.parametrize("name", distortions.names())
def test_scores_fall_with_the_level_on_average(name, photographs) -> None:
    means = []
    for level in LEVELS:
        scores = [
            mdsi.score(mdsi.similarity(photo, distortions.apply(photo, name, level, np.random.default_rng(draw))))
            for photo in photographs
            for draw in range(2)
        ]
        assert all(0 <= score <= 1 for score in scores)
        means.append(float(np.mean(scores)))
    assert all(weaker > stronger for weaker, stronger in pairwise(means)), means
    assert means[0] < 1


def test_the_same_picture_scores_one(photographs) -> None:
    for photo in photographs:
        similarity = mdsi.similarity(photo, photo)
        assert similarity.shape == photo.shape[:2] and similarity.dtype == np.float32
        assert np.allclose(similarity, 1, atol=1e-6) and mdsi.score(similarity) == pytest.approx(1)


def test_a_region_knows_nothing_of_what_is_far_away(photographs) -> None:
    photo, changed = photographs[0], photographs[0].copy()
    changed[:, 80:] = distortions.apply(photo, "noise_gaussian_RGB", 5, np.random.default_rng(0))[:, 80:]
    similarity = mdsi.similarity(photo, changed)
    assert np.allclose(similarity[:, : 80 - REACH], 1, atol=1e-6)
    assert mdsi.score(similarity[:, 80:]) < mdsi.score(similarity) < mdsi.score(similarity[:, :70]) == pytest.approx(1)


def test_every_word_of_the_scale_occurs(photographs) -> None:
    said = {
        word(mdsi.score(mdsi.similarity(photo, distortions.apply(photo, name, level, np.random.default_rng(0)))))
        for photo in photographs[:2]
        for name in distortions.names()
        for level in LEVELS
    }
    assert said == {"bad", "poor", "fair", "good", "excellent"}


def test_the_place_of_the_pixels_in_memory_does_not_matter(photographs) -> None:
    """Bytes of a data set may not depend on the worker that made them."""
    photo = photographs[0]
    image = distortions.apply(photo, "blur_lens", 2, np.random.default_rng(0))
    first = mdsi.similarity(photo, image)
    for offset in (4, 12, 20, 36, 52):
        room = np.empty(image.nbytes + 128, np.uint8)
        moved = room[offset : offset + image.nbytes].reshape(image.shape)
        moved[...] = image
        assert np.array_equal(mdsi.similarity(photo, moved), first)

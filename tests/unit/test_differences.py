"""What differs between two versions of a picture: where the pixels changed, and which version is better there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage

from iqaflow import distortions
from iqaflow.data.masks import bounds
from iqaflow.infer.differences import chance_higher, changed, named_region, similarity_map
from iqaflow.infer.findings import shrunk
from iqaflow.iqa import mdsi
from iqaflow.tasks import grammar

SHARES = (0.3, 0.25, 0.7, 0.65)  # of the distorted rectangle: left, top, right, bottom


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return skimage.data.coffee()


def sized(photograph: np.ndarray, height: int, width: int) -> np.ndarray:
    """Reduced or, so that a large one has detail of its own too, repeated."""
    if height <= photograph.shape[0]:
        return cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
    return np.tile(photograph, (5, 5, 1))[:height, :width].copy()


def spoilt(image: np.ndarray, name: str, shares: tuple[float, ...] = SHARES) -> tuple[np.ndarray, tuple[int, ...]]:
    """The image with one distorted rectangle, and its box."""
    height, width = image.shape[:2]
    box = tuple(round(share * side) for share, side in zip(shares, (width, height) * 2, strict=True))
    mask = np.zeros((height, width), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return distortions.apply_in_mask(image, mask, name, 4, np.random.default_rng(0)), box


@pytest.mark.parametrize("name", ["noise_gaussian_RGB", "brightness_darken_shift_HSV", "blur_gaussian", "compression_jpeg"])
@pytest.mark.parametrize("size", [(256, 256), (400, 600), (1500, 2000)])
def test_a_distorted_rectangle_is_found_within_a_few_pixels(photograph, size, name):
    image = sized(photograph, *size)
    other, box = spoilt(image, name)
    for pair in ((image, other), (other, image)):  # whichever is shown first
        mask = changed(*pair)[0]
        assert mask.shape == size
        assert np.abs(np.subtract(bounds(mask), box)).max() <= 0.025 * max(size)  # it is averaged over 0.015 of it


def test_two_rectangles_are_two_the_larger_first(photograph):
    image = sized(photograph, 400, 400)
    once, small = spoilt(image, "brightness_darken_shift_HSV", (0.05, 0.05, 0.25, 0.25))
    twice, large = spoilt(once, "brightness_darken_shift_HSV", (0.5, 0.5, 0.9, 0.9))
    first, second = (bounds(mask) for mask in changed(image, twice))
    assert np.abs(np.subtract(first, large)).max() <= 16 and np.abs(np.subtract(second, small)).max() <= 16


def test_nothing_differs_between_identical_images(photograph):
    assert changed(photograph, photograph.copy()) == []
    speck = photograph.copy()
    speck[100:104, 100:104] = 0  # too small to be a region
    assert changed(photograph, speck) == []


@pytest.mark.parametrize("name", ["noise_gaussian_RGB", "brightness_darken_shift_HSV"])
def test_a_global_distortion_is_the_whole_image(photograph, name):
    image = sized(photograph, 256, 384)
    (mask,) = changed(image, distortions.apply(image, name, 5, np.random.default_rng(0)))
    assert mask.shape == (256, 384) and mask.all()
    assert named_region(image, mask, grammar.GRID).label == grammar.WHOLE


def test_other_sizes_and_other_pictures_are_no_versions_of_one(photograph):
    image = sized(photograph, 256, 384)
    assert changed(image, sized(photograph, 256, 385)) is None
    for other in (skimage.data.astronaut(), skimage.data.rocket(), skimage.data.chelsea()):
        assert changed(image, sized(other, 256, 384)) is None
        assert changed(sized(other, 256, 384), image) is None


@pytest.mark.parametrize("name", distortions.names())
def test_no_distortion_makes_it_another_picture(photograph, name):
    image = sized(photograph, 256, 384)
    assert changed(image, distortions.apply(image, name, 5, np.random.default_rng(0)))


def test_a_patch_on_an_empty_picture_is_a_change_of_it():
    """Without any light and shade there is nothing to correlate."""
    empty = np.full((256, 384, 3), 128, np.uint8)
    patched = empty.copy()
    patched[50:100, 100:160] = (30, 90, 160)
    (mask,) = changed(empty, patched)
    assert np.abs(np.subtract(bounds(mask), (100, 50, 160, 100))).max() <= 10


def test_the_strips_of_a_large_image_meet_without_a_seam():
    """One change across the edges of strips is one region; detail is averaged over whole rows."""
    a = np.random.default_rng(0).integers(60, 200, (1301, 1700, 3), dtype=np.uint8)
    b = a.copy()
    b[200:1100, 300:600] = 255 - b[200:1100, 300:600]
    shape = shrunk(a).shape[:2]
    alike = similarity_map(a, b, shape)
    assert alike.shape == shape and similarity_map(a, a, shape) == pytest.approx(np.ones(shape))
    expected = cv2.resize(mdsi.similarity(a, b), shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(alike - expected).mean() < 0.01
    assert len(changed(a, b)) == 1


def test_a_region_is_named_by_its_colour_and_box():
    pixels = np.full((100, 200, 3), 128, np.uint8)
    pixels[20:40, 60:100] = (220, 20, 20)
    mask = np.zeros((100, 200), bool)
    mask[20:40, 60:100] = True
    asked = named_region(pixels, mask, grammar.GRID)
    assert asked.label == "red region" and asked.box == (60, 20, 100, 40)
    assert asked.cells == (4 * grammar.GRID + 6, 7 * grammar.GRID + 9)


def test_the_better_one_is_rated_higher_in_a_draw():
    bad, fair, excellent = np.eye(5)[0], np.eye(5)[2], np.eye(5)[4]
    assert chance_higher(excellent, bad) == 1 and chance_higher(bad, excellent) == 0 and chance_higher(fair, fair) == 0.5
    # half bad, half excellent, against fair: better in one case of two
    assert chance_higher((bad + excellent) / 2, fair) == pytest.approx(0.5)
    # (.5 fair, .5 excellent) against (.5 bad, .5 fair): equal in a quarter of the draws, else better
    assert chance_higher((fair + excellent) / 2, (bad + fair) / 2) == pytest.approx(0.875)
    # rounded distributions need not sum to one
    assert chance_higher(excellent * 0.999, excellent * 1.001) == pytest.approx(0.5)

"""A region in a person's own words: where a phrase points in a picture, and what of it the model hears."""

from __future__ import annotations

import numpy as np
import pytest

from iqaflow.infer.regions import MOST_LETTERS, located, region_prompt
from iqaflow.infer.tiles import Part
from iqaflow.tasks import grammar

HEIGHT, WIDTH = 120, 160
RED, GREEN, DARK_GREEN = (220, 20, 20), (20, 180, 20), (10, 80, 10)


def picture(*squares: tuple[int, int, tuple[int, int, int]], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Grey, with squares of a third of the height at (top, left)."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    for top, left, colour in squares:
        pixels[top : top + height // 3, left : left + height // 3] = colour
    return pixels


def overlap(mask: np.ndarray, top: int, left: int, side: int = 40) -> float:
    """IoU with a square."""
    square = np.zeros_like(mask)
    square[top : top + side, left : left + side] = True
    return np.count_nonzero(mask & square) / np.count_nonzero(mask | square)


@pytest.mark.parametrize("phrase", ["red region at the top left", "the RED thing", "upper-left red square"])
def test_a_colour_is_found(phrase):
    assert overlap(located(picture((10, 10, RED)), phrase), 10, 10) > 0.7


def test_of_two_of_a_colour_the_one_at_the_place_is_meant():
    pixels = picture((10, 10, RED), (70, 110, RED))
    assert overlap(located(pixels, "red region at the top left"), 10, 10) > 0.6
    assert overlap(located(pixels, "red region at the bottom right"), 70, 110) > 0.6
    assert overlap(located(pixels, "the lower red one"), 70, 110) > 0.6


def test_of_two_shades_the_one_named_is_meant():
    pixels = picture((10, 10, DARK_GREEN), (70, 110, GREEN))
    assert overlap(located(pixels, "dark green region"), 10, 10) > 0.6
    assert overlap(located(pixels, "green region"), 70, 110) > 0.6


def test_both_spellings_of_gray_are_one_colour():
    pixels = np.full((HEIGHT, WIDTH, 3), (20, 60, 220), np.uint8)
    pixels[10:50, 10:50] = 128
    assert overlap(located(pixels, "grey wall"), 10, 10) > 0.6
    assert (located(pixels, "grey wall") == located(pixels, "gray wall")).all()


@pytest.mark.parametrize(
    ("phrase", "rows", "columns"),
    [
        ("at the top left", (0, 60), (0, 80)),
        ("the dog, bottom right", (60, 120), (80, 160)),
        ("lower part", (60, 120), (0, 160)),
        ("on the LEFT", (0, 120), (0, 80)),
        ("from left to right", (0, 120), (0, 160)),
        ("the dog", (0, 120), (0, 160)),
        ("upright person", (0, 120), (0, 160)),
        ("purple region at the top", (0, 60), (0, 160)),
    ],
)
def test_position_words_alone_are_the_half_or_quarter(phrase, rows, columns):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[slice(*rows), slice(*columns)] = True
    assert (located(picture((10, 10, RED)), phrase) == mask).all()


def test_a_large_picture_gets_a_mask_of_its_own_size():
    mask = located(picture((100, 100, RED), height=900, width=1200), "red region")
    assert mask.shape == (900, 1200) and overlap(mask, 100, 100, 300) > 0.7


def test_a_phrase_alone_is_put_to_the_model_as_spoken():
    asked = region_prompt(picture((10, 10, RED)), None, None, None, "  the red\n square [1] ")
    assert asked.spoken == asked.named(WIDTH, HEIGHT) == "the red square [1]"
    assert asked.label == "the red square 1"  # brackets would end a label in the grammar
    assert overlap(asked.mask, 10, 10) > 0.7 and asked.confidence is None
    assert len(region_prompt(picture(), None, None, None, "very " * 90).spoken) == MOST_LETTERS


def test_a_phrase_beside_a_box_is_its_name():
    asked = region_prompt(picture((10, 10, RED)), (80, 60, 120, 100), None, None, "the wall")
    assert asked.spoken is None and asked.box == (80, 60, 120, 100) and asked.mask.sum() == 40 * 40
    first, last = 10 * grammar.GRID + 10, 16 * grammar.GRID + 14  # rows 60..99 of 120, columns 80..119 of 160
    assert asked.cells == (first, last)
    assert asked.named(WIDTH, HEIGHT) == f"[the wall](<{first}, {last}>) at the bottom right"
    assert region_prompt(picture(), None, None, None, None) is None and region_prompt(picture(), None, None, None, "") is None


def test_within_a_part_a_region_has_the_parts_coordinates():
    asked = region_prompt(picture(), (80, 60, 120, 100), None, None, "the wall")
    part = asked.within(Part(60, 100, 60, 60))  # holds its right half
    assert part.box == (0, 0, 20, 40) and part.mask.shape == (60, 60) and part.mask.sum() == 20 * 40
    assert part.cells == (0, 13 * grammar.GRID + 6)  # to row 39 of 60, column 19 of 60
    assert part.named(60, 60) == f"[the wall](<0, {part.cells[1]}>) at the top left"
    assert asked.within(Part(0, 0, HEIGHT, WIDTH)).mask.sum() == asked.mask.sum() and asked.box == (80, 60, 120, 100)
    spoken = region_prompt(picture(), None, None, None, "the wall").within(Part(0, 0, 60, 60))
    assert spoken.named(60, 60) == "the wall"

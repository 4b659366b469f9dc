"""Large images as tiles: every pixel is seen once, the answers are pooled by hand-checkable rules, the maps fit together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iqaflow.data.masks import bounds
from iqaflow.engine.session import Engine
from iqaflow.infer.tiles import FROM, Mosaic, Part, crops, is_large, parts, stitched

BUDGET = 256 * 256


def mosaic(places: list[Part], identify: list[list[float]] | None = None) -> Mosaic:
    """A mosaic of these tiles, which named distortions with these chances; no model is asked."""
    made = object.__new__(Mosaic)
    made.parts, made.identify = places, np.log(np.array(identify)) if identify else None
    return made


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(16, 70_000))
def test_parts_cover_every_pixel_once_within_the_budget(height, width, budget):
    seen = np.zeros((height, width), np.uint8)
    made = parts(height, width, budget)
    for part in made:
        part.of(seen)[:] += 1
        assert part.height > 0 and part.width > 0
    assert (seen == 1).all()
    assert (len(made) == 1 and made[0] == (0, 0, height, width)) if height * width <= FROM * budget else len(made) > 1
    assert len(made) == 1 or max(part.height * part.width for part in made) <= budget
    assert is_large(height, width, budget) == (len(made) > 1)


def test_a_few_tiles_that_are_sure_name_the_distortion():
    # noise in one tile of four, the others are clean: sqrt(.8² / 4) = .4 against the mean (.2 + 3) / 4 = .8 of none
    sure, clean = [0.8, 0.0, 0.2], [0.0, 0.0, 1.0]
    one, two, three = (mosaic([]).pooled(np.array([sure] * count + [clean] * (4 - count))) for count in (1, 2, 3))
    assert one == pytest.approx([0.4 / 1.2, 0, 0.8 / 1.2])
    assert two == pytest.approx(np.array([0.32**0.5, 0, 0.6]) / (0.32**0.5 + 0.6))  # nearly even, where the means are .4 and .6
    assert np.argmax(three) == 0 and three.sum() == pytest.approx(1)
    assert mosaic([]).pooled(np.array([sure])) == pytest.approx(sure)


def test_a_rating_is_the_mean_over_tiles_by_their_size():
    made = mosaic([Part(0, 0, 10, 30), Part(10, 0, 10, 10)])
    assert made.mean(np.array([[0.8, 0.2], [0.2, 0.8]])) == pytest.approx([0.65, 0.35])  # (3 * .8 + .2) / 4


def test_the_best_tile_shows_the_candidate_most_clearly():
    made = mosaic([Part(at, 0, 1, 1) for at in range(3)], [[0.1, 0.9], [0.6, 0.4], [0.3, 0.7]])
    assert (made.best(0), made.best(1)) == (made.parts[1], made.parts[0])


def test_tiles_stay_in_place_when_those_of_one_line_differ_by_a_row():
    """Four tiles of one number each; the upper right one and the lower line have other grids."""
    places = [Part(0, 0, 8, 8), Part(0, 8, 8, 8), Part(8, 0, 8, 8), Part(8, 8, 8, 8)]
    shapes = [(4, 4), (5, 4), (3, 5), (3, 4)]
    grids = [np.full((*shape, 6), float(number), np.float32) for number, shape in enumerate(shapes)]
    made = stitched(places, tuple(grids))
    assert made.shape == (5 + 3, 9, 6)
    assert (made[:5, :4] == 0).all() and (made[:5, 5:] == 1).all()
    assert (made[5:, :5] == 2).all() and (made[5:, 5:] == 3).all()
    shuffled = [2, 0, 1, 3]  # lines come from where tiles lie, not from their order
    assert (stitched([places[at] for at in shuffled], tuple(grids[at] for at in shuffled)) == made).all()


def test_a_region_that_fits_is_one_crop_around_it():
    pixels, mask = np.zeros((900, 1200, 3), np.uint8), np.zeros((900, 1200), bool)
    mask[300:380, 1100:1200] = True
    ((part, weight),) = crops(pixels, (1100.0, 300.0, 1200.0, 380.0), mask, BUDGET)
    assert weight == 1 and part.of(mask).sum() == mask.sum()  # all of the region
    assert part == Part(260, 1050, 160, 150)  # half of its size more on each side, cut off at the edge
    speck = np.zeros_like(mask)
    speck[500, 500] = True
    ((part, _),) = crops(pixels, (500.0, 500.0, 501.0, 501.0), speck, BUDGET)
    assert part.of(speck).sum() == 1 and 128 <= part.height <= 130 and 128 <= part.width <= 130


@pytest.mark.parametrize("box", [(0, 0, 1200, 900), (100, 50, 1100, 200), (0.5, 0.5, 1199.5, 899.5)])
def test_a_large_region_is_seen_in_the_tiles_that_it_fills_most(box):
    pixels = np.zeros((900, 1200, 3), np.uint8)
    rows, columns = np.mgrid[:900, :1200]
    inside = (columns >= box[0]) & (columns < box[2]) & (rows >= box[1]) & (rows < box[3])
    mask = inside & (columns * 3 > rows * 4)  # the upper right half: some tiles of the box hold none of it
    chosen = crops(pixels, box, mask, BUDGET)
    assert 2 <= len(chosen) <= 4
    weights = [weight for _, weight in chosen]
    assert weights == sorted(weights, reverse=True) == [part.of(mask).sum() for part, _ in chosen] and weights[-1] > 0
    assert all(part.height * part.width <= BUDGET and part.of(mask).shape == part[2:] for part, _ in chosen)


@pytest.fixture(scope="module")
def engine(trained):
    return Engine.load(trained / "models" / "stage1")


def test_a_mosaic_reads_every_tile_and_lays_its_map_over_the_image(engine):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    made = Mosaic(engine, pixels)
    assert len(made.parts) == 9 and made.identify.shape == (9, 13) and made.ratings.shape == (9, 5)
    assert made.pooled(np.exp(made.identify)).sum() == pytest.approx(1) == made.mean(np.exp(made.ratings)).sum()
    # tiles of 200x233 in tokens of 16 px: three times 12 or 13 rows, 14 or 15 columns
    rows, columns, kinds = made.lens.chances[0].shape
    assert rows in range(36, 40) and columns in range(42, 46) and kinds == 13
    assert made.lens.severities[0].shape == (rows, columns, 5)
    assert made.lens.map(0, "Where is the quality worst?").shape == (rows, columns)


def test_what_one_tile_shows_changes_its_own_part_of_the_map_alone(engine):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    spoilt = pixels.copy()
    spoilt[400:, 467:] = 128  # the last of three times three tiles
    before, after = Mosaic(engine, pixels), Mosaic(engine, spoilt)
    rows, columns = bounds_of(np.abs(before.lens.chances[0] - after.lens.chances[0]).max(-1) > 1e-3)
    height, width = before.lens.chances[0].shape[:2]
    assert rows == (height * 2 // 3, height) and columns == (width * 2 // 3, width)
    assert np.abs(before.ratings - after.ratings).max(1)[:8].max() < 1e-3 < np.abs(before.ratings - after.ratings)[8].max()


def test_a_sample_of_tiles_has_answers_and_no_map(engine):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    few = Mosaic(engine, pixels, most=4)
    assert len(few.parts) == 4 and few.parts[0] == parts(600, 700, engine.budget)[0] and few.lens is None
    assert few.parts[-1] == parts(600, 700, engine.budget)[-1] and few.ratings.shape == (4, 5)
    whole = Mosaic(engine, pixels)
    same = [whole.parts.index(part) for part in few.parts]
    assert np.allclose(few.ratings, whole.ratings[same], atol=1e-3)  # a tile's answer does not depend on the others


def bounds_of(mask: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """(first row, end), (first column, end) of what is true."""
    x0, y0, x1, y1 = bounds(mask)
    return (y0, y1), (x0, x1)

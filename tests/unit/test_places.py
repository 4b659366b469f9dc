"""One mask, several places: the connected parts of a grounded answer."""

from __future__ import annotations

import numpy as np
import pytest

from iqaflow.grounding.ground import Grounding, mask_box, parts
from iqaflow.tasks.grammar import GRID

SIZE = (100, 200)  # pixels; a cell of the map is 5x10 of them


def place(*blobs: tuple[int, int, int, int, float], points: list[tuple[float, float]], whole: bool = False) -> Grounding:
    """A place whose mask and map are rectangles of cells, (top, left, bottom, right, height of the map)."""
    map_ = np.zeros((GRID, GRID), np.float32)
    for top, left, bottom, right, value in blobs:
        map_[top:bottom, left:right] = value
    mask = np.repeat(np.repeat(map_ > 0, 5, 0), 10, 1)
    return Grounding(mask, points, [(1.0, 1.0)], (0, 399), (0.0, 0.0, 200.0, 100.0), whole, map_, 0.8)


def test_two_blobs_are_two_places_the_one_with_more_of_the_map_first():
    made = place((1, 1, 6, 6, 0.6), (12, 12, 18, 18, 1.0), points=[(35.0, 17.5)])
    most, other = parts(made)
    assert most.box_xyxy == (120.0, 60.0, 180.0, 90.0) and other.box_xyxy == (10.0, 5.0, 60.0, 30.0)
    assert (most.mask | other.mask == made.mask).all() and not (most.mask & other.mask).any()
    assert most.cells == (12 * GRID + 12, 17 * GRID + 17) and other.cells == (GRID + 1, 5 * GRID + 5)
    assert most.points[0] == pytest.approx((150.0, 75.0), abs=1)  # none of the answer's points lies in it: its middle
    assert other.points == [(35.0, 17.5)]  # the answer's own point
    assert all(one.confidence == 0.8 and one.map is made.map and not one.whole for one in (most, other))


def test_small_parts_are_left_out():
    # 36 cells against 12 (kept) and 8 (under a quarter: dropped); a strong map counts more than the area
    big, twelve, eight = (0, 0, 6, 6, 1.0), (10, 0, 13, 4, 1.0), (10, 10, 12, 14, 1.0)
    assert len(parts(place(big, twelve, points=[(5.0, 5.0)]))) == 2
    assert len(parts(place(big, eight, points=[(5.0, 5.0)]))) == 1
    assert len(parts(place((0, 0, 6, 6, 0.3), eight, points=[(5.0, 5.0)]))) == 2
    (only,) = parts(place(big, eight, points=[(5.0, 5.0)]))
    assert only.mask.sum() == 36 * 50 and only.box_xyxy == mask_box(only.mask)


def test_one_part_and_the_whole_image_stay_as_they_are():
    one = place((2, 2, 8, 8, 1.0), points=[(50.0, 25.0)])
    (only,) = parts(one)
    assert (only.mask == one.mask).all() and only.points == one.points and only.confidence == one.confidence
    whole = place((0, 0, 5, 5, 1.0), (10, 10, 15, 15, 1.0), points=[(9.0, 9.0)], whole=True)
    (kept,) = parts(whole)
    assert kept is whole


def test_the_point_of_a_hollow_part_lies_on_it():
    """The centre of mass of a ring is its hole."""
    made = place((0, 0, 12, 12, 1.0), (14, 14, 20, 20, 1.0), points=[(170.0, 85.0)])
    made.mask[10:50, 20:100] = False
    ring = parts(made)[0]
    ((x, y),) = ring.points
    assert ring.mask[int(y), int(x)] and ring.mask.sum() == 12 * 12 * 50 - 40 * 80

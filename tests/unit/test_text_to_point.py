"""Text to point on constructed logits: every number here can be checked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from iqaflow.engine.calibration import defaults
from iqaflow.grounding.ground import concentration, ground, mask_box
from iqaflow.grounding.record import TextToPoint
from iqaflow.grounding.text_to_point import (
    Settings,
    Spatial,
    box_cells,
    combine,
    dense_map,
    expectation,
    is_whole,
    map_around,
    map_cells,
    point_2x2,
    point_3x3,
    point_expectation,
    points,
    read_map,
    read_out,
    read_points,
    scaled,
    smooth,
    soft_box,
    softmax,
    upsample,
)

SIZE = (100, 200)  # height, width


def spatial(vertical=(0.0, 0.0), horizontal=(0.0, 0.0), whole=-1.0, **logits) -> Spatial:
    return Spatial(np.array(vertical), np.array(horizontal), whole, **logits)


def certain(*cells: int, sure: float = 50.0) -> np.ndarray:
    """Logits (400,) that leave the given cells equally likely and nothing else."""
    logits = np.zeros(400)
    logits[list(cells)] = sure
    return logits


def test_the_record_stores_every_setting_and_no_other():
    assert list(TextToPoint.__annotations__) == list(Settings().tree())
    assert Settings.read(Settings(cut=0.25).tree()) == Settings(cut=0.25)


def test_softmax_with_temperature():
    assert softmax(np.array([0.0, math.log(3)])) == pytest.approx([0.25, 0.75])
    assert softmax(np.array([0.0, 2 * math.log(3)]), tau=2.0) == pytest.approx([0.25, 0.75])
    assert softmax(np.array([1e4, 0.0])) == pytest.approx([1.0, 0.0])
    assert softmax(np.array([-np.inf, 0.0])) == pytest.approx([0.0, 1.0])
    assert softmax(np.array([-np.inf, np.nan])) == pytest.approx([0.5, 0.5])


def test_point_2x2_is_the_published_formula():
    # sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4
    at = spatial(vertical=(math.log(3), 0.0), horizontal=(0.0, math.log(3)))
    assert point_2x2(at, SIZE) == pytest.approx((150.0, 25.0))
    # twice the temperature halves the logit: sigmoid(ln(3)/2) = sqrt(3) / (1 + sqrt(3))
    assert point_2x2(at, SIZE, tau=2.0)[0] == pytest.approx(200 * math.sqrt(3) / (1 + math.sqrt(3)))
    assert point_2x2(at, SIZE, inset=0.25) == pytest.approx((200 * (0.25 + 0.5 * 0.75), 100 * (0.25 + 0.5 * 0.25)))


def test_point_stays_on_the_image():
    x, y = point_2x2(spatial(vertical=(0.0, 1e6), horizontal=(0.0, 1e6)), SIZE)
    assert 199 < x < 200 and 99 < y < 100


def test_three_words_per_axis():
    # left, middle, right at 0, 1/2, 1: chances 1/6, 2/6, 3/6
    assert expectation(np.log([1.0, 2.0, 3.0])) == pytest.approx(2 / 6 * 0.5 + 3 / 6)


def test_a_read_out_of_three_words_uses_the_middle_one():
    # rows: all in the middle; columns: left, middle, right at 0, 1/2, 1 with chances 1/6, 2/6, 3/6
    three = spatial(rows=np.array([-50.0, 50.0, -50.0]), columns=np.log([1.0, 2.0, 3.0]))
    assert point_3x3(three, SIZE) == pytest.approx((200 * 4 / 6, 50.0))
    assert read_out(three, Settings("3x3")) == "3x3" and read_out(spatial(), Settings("3x3")) == "2x2"
    assert read_points(three, read_map(three, Settings("3x3")), SIZE, Settings("3x3"))[0][0] == pytest.approx((200 * 4 / 6, 50.0))


def test_map_around_peaks_at_its_point():
    map_ = map_around(point_2x2(spatial(vertical=(0.0, 0.0), horizontal=(0.0, math.log(3))), SIZE), SIZE)
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    assert row in (9, 10) and column in (14, 15)


def test_visual_tokens_may_be_finer_than_the_grid():
    fine = np.zeros((40, 60))
    fine[30:34, 45:50] = 1.0  # rows 30..34 of 40, columns 45..50 of 60
    for name in ("visual", "all"):
        at = spatial(cells=certain(315), first=certain(295), last=certain(336), visual=fine)  # cell 315: row 15, column 15
        map_ = read_map(at, Settings(name))
        assert map_.shape == (40, 60) and np.unravel_index(map_.argmax(), map_.shape)[0] in range(30, 34)
        x, y = read_points(at, map_, SIZE, Settings(name, floor=0.5))[0][0]
        assert 150 <= x <= 167 and 75 <= y <= 85


def test_map_cells_is_row_major():
    map_ = map_cells(spatial(cells=certain(147)))
    assert map_.sum() == pytest.approx(1.0)
    assert map_[7, 7] == pytest.approx(1.0)  # 147 = 7 * 20 + 7
    assert map_cells(spatial()) == pytest.approx(np.full((20, 20), 1 / 400))


def test_soft_box_of_a_certain_box_is_the_box():
    # <63, 190>: row 3 column 3 to row 9 column 10, both inclusive
    inside = soft_box(spatial(first=certain(63), last=certain(190)))
    expected = np.zeros((20, 20))
    expected[3:10, 3:11] = 1
    assert inside == pytest.approx(expected, abs=1e-9)


def test_soft_box_is_the_product_of_the_cumulative_distributions():
    # the box starts in row 2 or 4 (half each) and column 1, and ends in row 6, column 3 or 5 (half each)
    inside = soft_box(spatial(first=certain(2 * 20 + 1, 4 * 20 + 1), last=certain(6 * 20 + 3, 6 * 20 + 5)))
    rows = np.array([0, 0, 0.5, 0.5, 1, 1, 1] + [0] * 13)
    columns = np.array([0, 1, 1, 1, 0.5, 0.5] + [0] * 14)
    assert inside == pytest.approx(rows[:, None] * columns[None, :], abs=1e-9)


def test_combine_is_a_weighted_geometric_mean():
    a, b = np.array([[1.0, 0.25]]), np.array([[1.0, 1.0]])
    assert combine([a, b], [0.5, 0.5]) == pytest.approx(np.array([[1.0, 0.5]]), abs=1e-4)
    assert combine([a, b], [1.0, 0.0]) == pytest.approx(a, abs=1e-4)
    apart = combine([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])], [0.5, 0.5])
    assert np.isfinite(apart).all() and apart.max() == 1.0


def test_smooth_keeps_a_flat_map_and_spreads_a_peak():
    flat = np.full((20, 20), 0.3)
    assert smooth(flat, 1.5) == pytest.approx(flat)
    peak = np.zeros((20, 20))
    peak[5, 5] = 1
    spread = smooth(peak, 1.0)
    assert spread[5, 5] == spread.max() and spread[5, 6] == pytest.approx(spread[4, 5], abs=1e-4) and spread[5, 6] > 0.05
    assert smooth(peak, 0) is peak


def test_point_expectation_by_hand():
    map_ = np.zeros((20, 20))
    map_[0, 0], map_[0, 2] = 1.0, 3.0  # centres at 1/40 and 5/40 of the width
    assert point_expectation(map_, SIZE) == pytest.approx((200 * (0.25 * 1 + 0.75 * 5) / 40, 100 / 40))
    assert point_expectation(map_, SIZE, floor=0.5) == pytest.approx((200 * 5 / 40, 100 / 40))
    assert point_expectation(np.zeros((20, 20)), SIZE) == pytest.approx((100.0, 50.0))


def test_several_points_are_apart_and_negatives_low():
    map_ = np.full((20, 20), 0.05)
    map_[2:5, 2:5], map_[14:17, 14:17] = 0.9, 1.0
    positives, negatives = points(map_, (200, 200), count=3, negatives=2, floor=0.95)
    assert positives[0] == pytest.approx((155.0, 155.0))  # the floor leaves the higher region only
    assert 20 < positives[1][0] < 50 and 20 < positives[1][1] < 50  # then the other region
    for x, y in positives:
        assert map_[int(y / 10), int(x / 10)] >= 0.5
    for x, y in negatives:
        assert map_[int(y / 10), int(x / 10)] == 0.05
        assert min(math.hypot(x - px, y - py) for px, py in positives) >= 0.15 * 200
    assert len(negatives) == 2 and negatives[0] != negatives[1]


def test_points_of_degenerate_maps():
    assert points(np.zeros((20, 20)), SIZE, 5, 3)[1] == []  # nothing is lower than the rest
    one = np.zeros((20, 20))
    one[0, 0] = 1.0
    positives, negatives = points(one, SIZE, 5, 3)
    assert len(positives) == 1 and len(negatives) == 3


def test_gate():
    assert is_whole(spatial(whole=0.2)) and not is_whole(spatial(whole=0.2), threshold=0.3)


def test_box_cells_in_any_order():
    assert box_cells(spatial(first=certain(63), last=certain(190))) == (63, 190)
    assert box_cells(spatial(first=certain(190), last=certain(63))) == (63, 190)
    assert box_cells(spatial()) is None


def test_upsample_is_bilinear_between_cell_centres():
    map_ = np.array([[0.0, 1.0]])
    assert upsample(map_, (1, 4))[0] == pytest.approx([0.0, 0.25, 0.75, 1.0])
    assert upsample(np.eye(20), (20, 20)) == pytest.approx(np.eye(20))
    assert upsample(np.full((20, 20), 0.7), (37, 211)) == pytest.approx(np.full((37, 211), 0.7))
    assert upsample(np.eye(20), (7, 5)).shape == (7, 5)


def test_dense_map_puts_the_cut_at_one_half():
    map_ = np.array([[0.0, 0.2, 1.0]])
    dense = dense_map(map_, (1, 3), cut=0.2)
    assert dense[0] == pytest.approx([0.0, 0.5, 1.0])


def test_read_outs_fall_back_to_what_there_is():
    full = spatial(cells=certain(147), first=certain(63), last=certain(190), visual=np.ones((20, 20)))
    words, cells = spatial(), spatial(cells=certain(147))
    assert [read_out(full, Settings(name)) for name in ("2x2", "cells", "soft_box", "product", "visual", "all")] == [
        "2x2",
        "cells",
        "soft_box",
        "product",
        "visual",
        "all",
    ]
    assert read_out(words, Settings("all")) == "2x2" and read_out(cells, Settings("product")) == "cells"
    for name in ("2x2", "cells", "soft_box", "product", "visual", "all"):
        for place in (full, words, cells):
            map_ = read_map(place, Settings(name))
            assert map_.shape == (20, 20) and map_.max() == pytest.approx(1.0) and map_.min() >= 0
            assert read_points(place, map_, SIZE, Settings(name))[0]
    # the product of a certain cell and the box around it is that cell
    assert np.unravel_index(read_map(full, Settings("product")).argmax(), (20, 20)) == (7, 7)


def test_published_read_out_points_where_the_formula_says():
    at = spatial(vertical=(math.log(3), 0.0), horizontal=(0.0, math.log(3)))
    settings = Settings("2x2")
    assert read_points(at, read_map(at, settings), SIZE, settings)[0][0] == pytest.approx((150.0, 25.0))


def test_settings_round_trip_and_refusals():
    settings = Settings("cells", tau_cells=1.4, points=3)
    assert Settings.read(settings.tree()) == settings
    with pytest.raises(ValueError, match="colour"):
        Settings.read({"colour": 1})
    with pytest.raises(ValueError, match="oracle"):
        Settings.read({"read_out": "oracle"})


def test_scaled_map_of_zeros_prefers_nothing():
    assert scaled(np.zeros((2, 2))) == pytest.approx(np.ones((2, 2)))


def test_ground_by_hand():
    image = np.full((100, 200, 3), 128, np.uint8)
    inside = [row * 20 + column for row in range(3, 10) for column in range(3, 11)]
    at = spatial(cells=certain(*inside), first=certain(63), last=certain(190))
    found = ground(image, at, defaults())
    assert found.cells == (63, 190) and found.box_xyxy == pytest.approx((30.0, 15.0, 110.0, 50.0))
    assert not found.whole and found.points[0] == pytest.approx((70.0, 32.5), abs=0.5)
    assert found.mask[32, 70] and not found.mask[80, 180]
    # the half-way line of the interpolated map runs along the box's edges
    assert mask_box(found.mask) == pytest.approx(found.box_xyxy, abs=6)
    assert 0.8 < found.confidence <= 1.0


def test_ground_without_a_box_and_whole():
    image = np.zeros((64, 96, 3), np.uint8)
    found = ground(image, spatial(cells=certain(0, 1, 20, 21)), defaults())
    assert found.cells[0] == 0 and found.box_xyxy == mask_box(found.mask)
    whole = ground(image, spatial(whole=3.0), defaults())
    assert whole.whole and whole.mask.all() and whole.cells == (0, 399) and whole.points == [(48.0, 32.0)]
    assert whole.confidence == pytest.approx(1 / (1 + math.exp(-3)))


def test_concentration_is_the_log_of_the_cells_left_out():
    quarter, one = np.zeros((20, 20)), np.zeros((20, 20))
    quarter[:10, :10], one[3, 4] = 0.7, 1.0
    assert concentration(np.ones((20, 20))) == pytest.approx(0.0)
    assert concentration(quarter) == pytest.approx(math.log(4))
    assert concentration(one) == pytest.approx(math.log(400))


def test_point_does_not_fall_between_two_regions():
    map_ = np.zeros((20, 20))
    map_[9:11, 2:5], map_[9:11, 15:19] = 1.0, 1.0
    assert point_expectation(map_, (200, 200)) == pytest.approx((200 * (6 * 3.5 + 8 * 17) / 14 / 20, 100.0))
    assert point_expectation(map_, (200, 200), floor=0.5) == pytest.approx((170.0, 100.0))


def test_the_point_may_come_from_another_read_out_than_the_map():
    at = spatial(cells=certain(0), first=certain(0), last=certain(399), visual=np.eye(20)[[19]].T * np.eye(20)[19])
    settings = Settings("cells", pointing="visual", floor=0.5)
    map_ = read_map(at, settings)
    assert np.unravel_index(map_.argmax(), map_.shape) == (0, 0)
    (x, y), *_ = read_points(at, map_, SIZE, settings)[0]
    assert x == pytest.approx(195) and y == pytest.approx(97.5)  # the last cell's centre
    with pytest.raises(ValueError, match="unknown read-out 'corner'"):
        Settings.read({"pointing": "corner"})

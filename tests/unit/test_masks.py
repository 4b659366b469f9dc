"""Masks: the one decoder refuses what would read foreign memory; boxes and pixels by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from iqaflow.data.masks import bounds, contains, decode_mask, encode_mask, iou, pixel


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (33, 47), (128, 96)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_a_mask_comes_back_as_cocos_own_code_reads_it(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    rle = encode_mask(mask)
    read = decode_mask(rle)
    assert read.dtype == bool and np.array_equal(read, mask)
    assert np.array_equal(read, coco.decode({"size": rle["size"], "counts": rle["counts"].encode()}).astype(bool))


@pytest.mark.parametrize(
    ("rle", "said"),
    [
        ({"size": [9, 9], "counts": encode_mask(np.ones((8, 8), bool))["counts"]}, "not a valid run-length code"),
        ({"size": [8, 8], "counts": "garbage"}, "not a valid run-length code"),
        ({"size": [8, 8], "counts": ""}, "not a valid run-length code"),
        ({"size": [10**6, 10**6], "counts": "0"}, "the limit is"),
        ({"size": [-1, -1], "counts": "1"}, "the limit is"),
    ],
)
def test_a_code_that_does_not_fit_its_size_is_refused(rle, said):
    with pytest.raises(ValueError, match=said):
        decode_mask(rle)


def test_box_and_pixels():
    mask = np.zeros((10, 20), bool)
    mask[2:5, 7:9] = True
    assert bounds(mask) == (7, 2, 9, 5)
    assert bounds(np.zeros((10, 20), bool)) == (0, 0, 20, 10)
    assert pixel((7.9, 2.2), mask.shape) == (2, 7) and pixel((-3, 99), mask.shape) == (9, 0)
    assert contains(mask, (8.99, 4.99)) and not contains(mask, (9.0, 4.0))


def test_overlap():
    left, both = np.array([[True, True, False]]), np.array([[False, True, True]])
    assert iou(left, both) == pytest.approx(1 / 3)
    assert iou(left, ~left) == 0.0 and iou(left & ~left, left & ~left) == 1.0

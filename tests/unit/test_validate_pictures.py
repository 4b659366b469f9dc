"""Damaged masks and images are a reason in words, and sound ones are taken as they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from iqaflow.data import decoding
from iqaflow.data.masks import encode_mask, read_mask

LIMIT = 1_000_000
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def png(image: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=options.pop("format", "PNG"), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (33, 47), (128, 96)])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98, 1.0])
def test_masks_are_read_as_cocos_own_code_writes_them(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    mask[-1, -1] = True
    read, fault = read_mask(encode_mask(mask), *shape, LIMIT)
    assert fault is None and read.dtype == bool and np.array_equal(read, mask)


def test_long_runs():
    mask = np.ones((1000, 1000), bool)
    mask[0, 0] = False
    assert np.array_equal(read_mask(encode_mask(mask), 1000, 1000, LIMIT)[0], mask)


@pytest.mark.parametrize(
    ("rle", "said"),
    [
        (None, "no mask"),
        ({"size": None, "counts": "0"}, "no mask"),
        ({"size": [8], "counts": "0"}, "no mask"),
        ({"size": [8, 9], "counts": "0"}, "mask is 9x8 px, the image 8x8"),
        ({"size": [8, 8], "counts": ""}, "not a valid"),
        ({"size": [8, 8], "counts": "garbage"}, "not a valid"),
        ({"size": [8, 8], "counts": "é"}, "not a valid"),
        ({"size": [8, 8], "counts": "o" * 40}, "not a valid"),
        ({"size": [8, 8], "counts": encode_mask(np.ones((9, 9), bool))["counts"]}, "not a valid"),
        (encode_mask(np.zeros((8, 8), bool)), "empty"),
    ],
)
def test_bad_masks_are_a_reason(rle, said):
    mask, fault = read_mask(rle, 8, 8, LIMIT)
    assert mask is None and said in fault


def test_a_huge_mask_is_not_allocated():
    size = [10**6, 10**6]
    mask, fault = read_mask({"size": size, "counts": "0"}, *size, LIMIT)
    assert mask is None and "limit" in fault


def test_images_are_taken_as_they_are():
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image, fault, mode, size = decoding.decode(png(colours), LIMIT)
    assert np.array_equal(image, colours) and (fault, mode, size) == (None, "RGB", (50, 40))
    assert decoding.decode(png(colours, format="JPEG"), LIMIT)[1] is None
    assert decoding.decode(png(colours[..., 0]), LIMIT)[::2] == (None, "L")  # not converted: named by its mode


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no bytes"),
        (None, "no bytes"),
        (b"no image at all", "not a readable"),
        (png(np.full((64, 64, 3), 7, np.uint8))[:-30], "cannot be decoded"),
        (png(NOISE, format="JPEG")[:900], "cannot be decoded"),
        (png(np.zeros((64, 64, 3), np.uint8), format="GIF"), "not a readable"),
        (png(np.zeros((1001, 1000, 3), np.uint8)), "above the limit"),
    ],
)
def test_bad_images_are_a_reason(data, said):
    image, fault, _, _ = decoding.decode(data, LIMIT)
    assert image is None and said in fault
    assert " at 0x" not in fault  # an object's address would make the report's bytes differ from run to run

"""The distortions against the results of the published code (XPixelGroup/DepictQA, x_distortion), kept in distortions.json.

`perf/distortions.py --peer DIR --write tests/numeric/distortions.json` made the file: of every deterministic
function and level 40 pixels of the authors' output on three photographs with odd sides, and of every random one the
mean, variance and power in four frequency bands of the change, averaged over 20 draws (6 of the shuffles).

Tolerances. Deterministic: 45 dB. Random: the mean lies 0.3 below to 0.8 above (the authors cut off what follows the
point, half a level on average; we round), variance within 5 %, each band within 6 %. Both fail for the next level.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from iqaflow import distortions
from perf.distortions import EXACT, RANDOM, ours, photographs, psnr, sampled, statistics

REFERENCE = json.loads((Path(__file__).parent / "distortions.json").read_text())
DECIBELS, MEAN, VARIANCE, BAND, DRAWS = 45, (-0.3, 0.8), 0.05, 0.06, 4


@pytest.fixture(scope="module")
def photos():
    return photographs()


def published(name, photo, level):
    pixels = base64.b64decode(REFERENCE["pixels"][name][photo][level - 1])
    return np.frombuffer(pixels, np.uint8).reshape(-1, 3)


def agrees(found, expected):
    """Whether statistics lie within the tolerances."""
    mean, ratio = found[:3] - expected[:3], np.abs(found[3:] / expected[3:] - 1)
    return bool(np.all((MEAN[0] < mean) & (mean < MEAN[1])) and ratio[:3].max() < VARIANCE and ratio[3:].max() < BAND)


def test_every_function_has_a_reference():
    assert sorted([*REFERENCE["pixels"], *REFERENCE["statistics"]]) == distortions.names() == sorted(EXACT + RANDOM)
    assert len(EXACT) == 27 and len(RANDOM) == 8


@pytest.mark.parametrize("name", EXACT)
def test_pixels_are_the_published_ones(name, photos):
    assert all(side % 2 for image in photos.values() for side in image.shape[:2])
    for level in range(1, 6):
        found = {photo: sampled(ours(image, name, level, None)) for photo, image in photos.items()}
        values = {photo: psnr(found[photo], published(name, photo, level)) for photo in photos}
        assert min(values.values()) >= DECIBELS, (level, values)
        near = level + 1 if level < 5 else 4
        values = {photo: psnr(found[photo], published(name, photo, near)) for photo in photos}
        assert min(values.values()) < DECIBELS, f"level {level} passes for {near}: {values}"


@pytest.mark.parametrize("name", RANDOM)
def test_statistics_are_the_published_ones(name, photos):
    image, rng = photos["astronaut"], np.random.default_rng(0)
    expected = np.array(REFERENCE["statistics"][name])
    for level in range(1, 6):
        found = np.mean([statistics(ours(image, name, level, rng), image) for _ in range(DRAWS)], axis=0)
        assert agrees(found, expected[level - 1]), (level, found, expected[level - 1])
        assert not agrees(found, expected[level if level < 5 else 3]), f"{level} passes for its neighbour"

"""Segmenters on constructed images: noise and blur inside a disc, where the map only knows roughly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from iqaflow.core.errors import ConfigError
from iqaflow.core.plugins import KINDS
from iqaflow.data.masks import contains, iou, rectangle
from iqaflow.grounding import segmenters
from iqaflow.grounding.channels import features, quality_channels
from iqaflow.grounding.maps import above, keep, resize
from tests.toy_sam import sam2_model, sam2_video_model, sam_model

CLASSICAL = tuple(name for name, module in KINDS["segmenters"].modules().items() if not module.WEIGHTS)


@pytest.fixture(scope="module")
def scene():
    """Astronaut crop with a noisy disc, its mask, and a coarse map: the disc seen through 6 x 6 tokens, off by 6 px."""
    from skimage import data

    image = cv2.resize(data.astronaut()[:320, 80:400], (128, 128), interpolation=cv2.INTER_AREA)
    rows, columns = np.mgrid[:128, :128]
    mask = (rows - 84) ** 2 + (columns - 44) ** 2 < 30**2
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 40, image.shape), 0, 255).astype(np.uint8)
    image = np.where(mask[:, :, None], noisy, image)
    seen = np.roll(mask, (6, 6), (0, 1)).astype(np.float32)
    map_ = cv2.resize(cv2.resize(seen, (6, 6), interpolation=cv2.INTER_AREA), (128, 128))
    return image, mask, map_ / map_.max()


def test_every_module_is_found_and_has_the_interface():
    assert set(KINDS["segmenters"].names()) >= {"map", "superpixels", "random_walker", "grabcut", "sam"}
    for name in KINDS["segmenters"].names():
        module, _ = segmenters.find(f"{name}:x" if name == "sam" else name)
        assert callable(module.segment) and module.OPTIONS and isinstance(module.SLOW, bool)


def test_unknown_names_are_one_sentence():
    for name in ("watershed", "sam", "map:weights"):
        with pytest.raises(ConfigError, match=r"calibrate\.segmenters"):
            segmenters.find(name)


@pytest.mark.parametrize("name", CLASSICAL)
def test_masks_follow_the_region(name, scene):
    image, mask, map_ = scene
    found = segmenters.segment(name, image, map_, [(50.0, 90.0)])
    assert found.shape == mask.shape and found.dtype == bool
    assert iou(found, mask) > 0.4
    again = segmenters.segment(name, image, map_, [(50.0, 90.0)])
    assert (found == again).all()


def test_quality_channels_beat_the_centre_box_and_the_map(scene):
    image, mask, map_ = scene
    centre = iou(rectangle((128, 128), (32, 32, 96, 96)), mask)
    shifted = iou(segmenters.segment("map", image, map_), mask)
    for name in ("superpixels", "random_walker"):
        best = iou(segmenters.segment(name, image, map_, [(50.0, 90.0)], options={"on": "quality"}), mask)
        assert best > centre + 0.2, name
    walker = iou(segmenters.segment("random_walker", image, map_, [(50.0, 90.0)], options={"on": "quality"}), mask)
    assert walker > shifted


def test_quality_channels_tell_distortions_apart(scene):
    image, mask, _ = scene
    noise = quality_channels(image)[:, :, 0]
    assert noise[mask].mean() > noise[~mask].mean() + 0.3
    blurred = np.where(mask[:, :, None], cv2.GaussianBlur(image, (0, 0), 3), image)
    sharpness = quality_channels(blurred)[:, :, 1]
    assert sharpness[mask].mean() < sharpness[~mask].mean() - 0.2
    assert features(image, "both", 64).shape == (64, 64, 8)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("size", [(32, 32), (32, 200), (3, 5), (1, 1)])
def test_nothing_raises(name, size):
    flat = np.full((*size, 3), 128, np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    spot = np.zeros(size, np.float32)
    spot[0, 0] = 1
    ramp = np.linspace(0, 1, size[0] * size[1], dtype=np.float32).reshape(size)
    for image in (flat, noise):
        for map_ in (np.zeros(size, np.float32), np.ones(size, np.float32), spot, ramp, np.full(size, np.nan)):
            for points, negatives in (([], []), ([(-5.0, 1e4)], [(0.0, 0.0)])):
                mask = segmenters.segment(name, image, map_, points, negatives, (0.0, 0.0, 1.0, 1.0))
                assert mask.shape == size and mask.any()


@pytest.mark.parametrize("name", CLASSICAL)
def test_every_option_and_grey_images_work(name, scene):
    image, _, map_ = scene
    for options in segmenters.candidates(name):
        assert segmenters.segment(name, image[::2, ::2, 0], map_, [(20.0, 40.0)], [(2.0, 2.0)], None, options).any()


def test_components():
    mask = np.zeros((10, 10), bool)
    mask[:4, :4] = mask[8:, 8:] = True
    map_ = np.where(mask, 1.0, 0.0)
    assert keep(mask, map_, "largest").sum() == 16
    assert keep(mask, map_, "all").sum() == 20
    map_[:4, :4] = 0.01  # small but certain beats large but doubtful
    assert keep(mask, map_, "largest").sum() == 4


def test_mask_arithmetic():
    a, b = rectangle((10, 10), (0, 0, 5, 10)), rectangle((10, 10), (0, 0, 10, 5))
    assert iou(a, b) == pytest.approx(25 / 75) and iou(a & ~a, a & ~a) == 1.0
    assert contains(a, (4.9, 9.9)) and not contains(a, (5.0, 0.0)) and contains(a, (-3.0, 99.0))
    assert rectangle((10, 10), (20, 20, 30, 30)).sum() == 1
    assert above(np.zeros((2, 2)), 0.5).all()
    assert resize(np.eye(4, dtype=np.float32), (2, 2)) == pytest.approx(np.array([[0.5, 0], [0, 0.5]]))


@pytest.fixture(scope="module", params=[sam_model, sam2_model, sam2_video_model])
def sam_folder(request, tmp_path_factory):
    """A real SAM or SAM 2 of toy size with random weights, saved to disk."""
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam")
    request.param().save_pretrained(folder)
    return folder


def test_sam_from_a_folder(sam_folder, scene):
    image, _, map_ = scene
    name = f"sam:{sam_folder}"
    for options in segmenters.candidates(name):
        assert options["model"] == str(sam_folder)
        mask = segmenters.segment(name, image, map_, [(50.0, 90.0)], [(5.0, 5.0)], (20.0, 60.0, 80.0, 110.0), options)
        assert mask.shape == image.shape[:2] and mask.any()
    tall = segmenters.segment(name, image[:, :40], map_[:, :40])  # no points, another shape
    assert tall.shape == (128, 40) and tall.any()


def test_sam_agrees_with_the_map_or_itself(sam_folder, scene):
    image, _, map_ = scene
    rough = keep(above(map_, 0.3), map_, "largest")
    by_map, by_score = (
        segmenters.segment(f"sam:{sam_folder}", image, map_, [(50.0, 90.0)], options={"choose": choose})
        for choose in ("map", "score")
    )
    assert iou(by_map, rough) >= iou(by_score, rough)


def test_sam_without_weights_is_one_sentence(tmp_path, scene):
    image, _, map_ = scene
    with pytest.raises(ConfigError, match="40 hex digits"):
        segmenters.segment("sam:facebook/sam-vit-base", image, map_)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        segmenters.segment(f"sam:{tmp_path}", image, map_)

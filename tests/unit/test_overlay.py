"""Drawn assessments: the picture stays, every word can be read, tags keep apart, colours are those of the legend."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from iqaflow.data.masks import encode_mask
from iqaflow.draw import labels as tags
from iqaflow.draw.marks import PALETTE
from iqaflow.draw.overlay import draw, enlargement, mark
from iqaflow.draw.text import faults, typeface, wrap


def assessment(size: tuple[int, int], regions: int = 2) -> dict:
    height, width = size
    found = []
    for at in range(regions):
        mask = np.zeros(size, bool)
        mask[height // 4 : height // 2, at * width // regions : (at + 1) * width // regions] = True
        found.append(
            {
                "label": "gray region",
                "box_xyxy": [at * width / regions, height / 4, (at + 1) * width / regions, height / 2],
                "points": [[(at + 0.5) * width / regions, 0.37 * height]],
                "mask_rle": encode_mask(mask),
                "distortions": [{"category": "blur", "severity": "serious", "confidence": 0.92}],
                "score": {"value": 0.3},
                "confidence": 0.8,
            }
        )
    return {"score": {"value": 0.42, "level": "fair", "confidence": 0.7}, "distortions": [], "regions": found}


@pytest.mark.parametrize("size", [(96, 96), (64, 400), (900, 90), (1200, 1600)])
def test_overlay_keeps_the_picture_and_adds_words(size):
    image = np.full((*size, 3), 128, np.uint8)
    drawn = draw(image, assessment(size))
    factor = enlargement(*size)
    assert drawn.shape[0] > size[0] * factor and drawn.shape[1] >= size[1] * factor
    assert min(size[0], size[1]) * factor >= 90
    picture = drawn[: size[0] * factor, : size[1] * factor]
    untouched = drawn[size[0] * factor - 3, size[1] * factor - 3]
    assert (untouched == 128).all()
    for colour in PALETTE[:2]:  # both regions are there in their colours
        assert (np.abs(picture.astype(int) - colour).sum(2) < 40).any()


def test_overlay_text_is_never_cut_off():
    """Nothing but paper along the panel's right edge, however long the words and many the regions."""
    made = assessment((96, 96), 6)
    for region in made["regions"]:
        region["label"] = "w" * 90 + " and <b>more</b>\x00\n " + "words " * 20
    drawn = draw(np.zeros((96, 96, 3), np.uint8), made)
    panel = drawn[96 * enlargement(96, 96) :]
    assert (panel[:, -8:] == panel[0, -1]).all() and (panel[-8:] == panel[0, -1]).all()


def test_overlay_of_little():
    image = np.zeros((50, 60, 3), np.uint8)
    for made in (
        {},
        {"regions": []},
        {"regions": [{}]},
        {"score": {"value": None}, "distortions": ["blur"]},
        {"regions": [{"box_xyxy": [-20, -20, 900, 900], "points": [[-3, 99]]}]},
    ):
        assert draw(image, made).shape[2] == 3
    assert (image == 0).all()  # the caller's image is left alone


def test_wrap_breaks_words_that_are_too_long():
    font = typeface(15)
    lines = wrap("short " + "x" * 200, font, 120)
    assert all(font.getlength(line) <= 120 for line in lines) and "".join(lines).count("x") == 200
    assert wrap("", font, 120) == []


def test_faults_in_words():
    assert faults([{"category": "contrast_weaken", "severity": "slight", "confidence": 0.414}, "noise"]) == (
        "slight insufficient contrast 41%, noise"
    )
    assert faults([]) == ""


LONG = "catastrophic insufficient contrast 91%, obvious overly high saturation 44%"


@pytest.mark.parametrize("size", [(300, 450), (100, 1500), (1500, 100), (1000, 1500)])
def test_tags_keep_apart_and_on_the_picture(size):
    """Six regions at the very edges and one in the middle, with long words."""
    height, width = size
    short, font = min(size) // 4, typeface(15)
    boxes = [
        (0, 0, short, short),
        (width - short, 0, width, short),
        (0, height - short, short, height),
        (width - short, height - short, width, height),
        (width // 2, 0, width // 2 + short, 9),
        (0, height // 2, 9, height // 2 + short),
        (0, 0, width, height),
    ]
    regions = [tags.Tagged([LONG, "serious blur"], box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)) for box in boxes]
    placed = tags.placed(regions, font, width, height)
    assert [at for at, _, _ in placed] == list(range(7)) and all(text.split()[0] == str(at + 1) for at, _, text in placed)
    for _, (x0, y0, x1, y1), text in placed:
        assert 0 <= x0 < x1 < width and 0 <= y0 < y1 < height and font.getlength(text) < x1 - x0
        assert text.isdigit() or x1 - x0 <= tags.WIDEST * width
    for (_, a, _), (_, b, _) in itertools.combinations(placed, 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_a_tag_leaves_other_regions_alone():
    font = typeface(15)
    left, right = tags.Tagged(["serious blur"], (0, 100, 200, 200), (190, 150)), tags.Tagged([], (200, 100, 400, 200), (300, 150))
    (_, spot, text), _ = tags.placed([left, right], font, 400, 300)
    assert text == "1 serious blur" and not (spot[2] > 200 and spot[3] > 100 and spot[1] < 200)
    tags.write(ImageDraw.Draw(Image.new("RGB", (20, 20))), [left, right], font)  # no room at all: nothing is written


def test_points_off_their_region_are_not_drawn():
    """They would say that the flaw lies elsewhere; of the whole image no point is worth a mark."""
    mask = np.zeros((500, 500), bool)
    mask[100:200, 100:200] = True
    region = {"box_xyxy": [100, 100, 200, 200], "points": [[150, 150], [400, 400]], "mask_rle": encode_mask(mask)}
    drawn = mark(np.full((500, 500, 3), 128, np.uint8), [region])
    assert tuple(drawn[150, 150]) == PALETTE[0] and tuple(drawn[400, 400]) == (128, 128, 128)
    whole = {**region, "box_xyxy": [0, 0, 500, 500], "mask_rle": encode_mask(np.ones((500, 500), bool))}
    assert tuple(mark(np.full((500, 500, 3), 128, np.uint8), [whole])[150, 150]) == (128, 128, 128)


def test_letters_and_lines_grow_with_the_picture():
    """A large picture is looked at reduced, so at 1,200 px wide its tags must be as tall as those of a small one."""
    heights = []
    for width in (1200, 4800):
        drawn = mark(
            np.full((width * 2 // 3, width, 3), 128, np.uint8), [{"label": "sky", "box_xyxy": [0, 0, width // 2, width // 3]}]
        )
        tag = (drawn < 40).all(2).any(1)
        heights.append(int(tag.sum()) * 1200 / width)
    assert heights[1] > 0.7 * heights[0] > 12

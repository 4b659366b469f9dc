"""Pieces of the page, without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from iqaflow.core.errors import InputError, StageError
from iqaflow.core.workspace import Workspace
from iqaflow.data.masks import encode_mask
from iqaflow.draw import screen
from iqaflow.draw.marks import PALETTE
from iqaflow.serve.page import desk, examples, serve, views
from iqaflow.tasks import grammar

HOSTILE = '<img src=x onerror="alert(1)"> & co'
RATED = {
    "value": 0.25,
    "level": "poor",
    "confidence": 0.6,
    "distribution": dict(zip(grammar.RATINGS, (0.2, 0.6, 0.1, 0.1, 0.0), strict=True)),
}
FAULT = {"category": "noise", "phrase": "noise", "severity": "serious", "level": 4, "probability": 0.91, "confidence": 0.91}


def region(label: str = "red region") -> dict:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    return {
        "label": label,
        "box_xyxy": [20.0, 10.0, 50.0, 30.0],
        "points": [[35.0, 20.0]],
        "mask_rle": encode_mask(mask),
        "distortions": [FAULT],
        "score": RATED,
        "confidence": 0.5,
    }


def test_text_is_escaped_wherever_it_comes_from():
    result = {
        "score": RATED,
        "distortions": [{**FAULT, "phrase": HOSTILE}],
        "description": {"brief": HOSTILE, "detailed": HOSTILE},
        "answer": {"question": HOSTILE, "text": HOSTILE, "confidence": 0.5},
    }
    comparison = {"better": "Image A", "confidence": 0.7, "reason": HOSTILE, "images": [{"path": HOSTILE}, {"path": None}]}
    for html in (
        views.verdict(result, HOSTILE),
        views.legend([region(HOSTILE)]),
        views.region(0, region(HOSTILE)),
        views.message(HOSTILE),
        views.comparison(comparison),
        views.legends({HOSTILE: []}),
        views.head(HOSTILE, ""),
    ):
        assert "<img" not in html and "&lt;img" in html


def test_numbers_stand_beside_bars_and_colours():
    assert "91%" in views.bars([FAULT]) and "width:91.0%" in views.bars([FAULT])
    assert "No distortion" in views.bars([])
    assert views.score(RATED).count("<li") == 5 and 'class="iq-best"><span>60%' in views.score(RATED)
    legend = views.legend([region(), region()], pointed=True)
    for at in (0, 1):
        assert "rgb({},{},{})".format(*PALETTE[at]) in legend
    assert legend.count("you asked") == 1 and "50% sure of the place" in legend and "50% sure of the answer" in legend
    assert views.legend([]) == ""


def test_references_to_cells_are_read_as_words():
    told = {"brief": "The [dark region](<0, 399>) is clear.", "detailed": ""}
    assert "The dark region is clear." in views.verdict({"score": RATED, "distortions": [], "description": told})


@pytest.mark.parametrize("shape", [(40, 60, 3), (1500, 3000, 3)])
def test_a_click_lands_on_the_pixel_it_was_meant_for(shape):
    pixels = np.full(shape, 128, np.uint8)
    picture = screen.marked(pixels, [], corner=(shape[1] / 4, shape[0] / 2))
    assert not np.array_equal(picture, np.full_like(picture, 128))
    assert max(picture.shape) <= 1600
    at = screen.original((picture.shape[1] / 4, picture.shape[0] / 2), pixels)
    assert at == pytest.approx((shape[1] / 4, shape[0] / 2), abs=3)
    assert screen.original((10**6, -5), pixels) == (shape[1] - 1, 0)


def test_regions_are_drawn_in_the_colours_of_the_legend():
    pixels = np.full((40, 60, 3), 128, np.uint8)
    drawn = screen.marked(pixels, [region()]).reshape(-1, 3).tolist()
    assert list(PALETTE[0]) in drawn and list(PALETTE[1]) not in drawn


def test_a_pair_gets_one_size():
    a, b = screen.pair(np.zeros((40, 60, 3), np.uint8), np.zeros((33, 20, 3), np.uint8))
    assert a.shape == b.shape == (40, 60, 3)


def test_examples_are_photographs_spoilt_in_one_part(tmp_path):
    files = examples.make(tmp_path / "new")
    clean, noisy = (desk.Desk(None).pixels(str(files[name])) for name in ("clean", "noisy"))
    differs = (clean != noisy).any(2).mean()
    assert 0.1 < differs < 0.6


def test_a_bad_file_is_named_without_its_folder(tmp_path):
    (tmp_path / "letter.png").write_text("Dear all,")
    with pytest.raises(InputError, match=r"^letter\.png is not an image of a known format .*\.$"):
        desk.Desk(None).pixels(str(tmp_path / "letter.png"))


def test_without_a_champion_the_shipped_base_is_shown_and_said(tmp_path, monkeypatch):
    def load(uri):
        if uri == "champion":
            raise StageError("There is no champion.")
        return uri

    monkeypatch.setattr(serve, "load", load)
    assert serve.chosen(Workspace(tmp_path), "some/folder") == ("some/folder", "some/folder", "")
    shipped = Path(__file__).parents[2] / "models" / "base-tiny"
    assert serve.chosen(Workspace(tmp_path), None)[:2] == (shipped, "models/base-tiny")
    base = tmp_path / "models" / "base-tiny"
    base.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    model, name, note = serve.chosen(Workspace(tmp_path), None)
    assert (model, name) == (base, "models/base-tiny") and note.startswith("There is no champion.")

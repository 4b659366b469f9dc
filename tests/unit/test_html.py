"""Pages: no text becomes markup or hides, nothing is loaded, outlines lie on their masks."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import numpy as np
import pytest
from markupsafe import Markup

from iqaflow.data.tables import SPLITS
from iqaflow.draw.html import charts, pictures, render, svg, text

HOSTILE = '<script>alert(\'"&")</script>\u202e\x00'
SHOWN = "&lt;script&gt;alert(&#39;&#34;&amp;&#34;)&lt;/script&gt;\ufffd\ufffd"
SUITE = {"table": HOSTILE, "checks": 1, "failed": 0, "rows": 3, "pages": [(HOSTILE, f'{HOSTILE}" onclick="alert(1)')]}


def test_text_in_a_page_cannot_become_markup_or_hide():
    page = render("data_docs.html", suites=[SUITE], checks=1, failed=0)
    assert page.count(SHOWN) == 3 and "<script" not in page
    links: list[dict[str, str | None]] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attrs: links.append(dict(attrs)) if tag == "a" else None
    reader.feed(page)
    assert [set(link) for link in links] == [{"href"}, {"href"}] and links[1]["href"].endswith('onclick="alert(1)')
    assert not set("\u202e\x00") & set(page)


def test_text_in_a_chart_cannot_become_markup_or_hide():
    mark = charts.Mark(HOSTILE, 0.5, 0.4, 0.6, "model")
    drawings = [
        charts.strip([mark], 1, HOSTILE),
        charts.interval_bars([(HOSTILE, 3, mark, mark)], HOSTILE),
        charts.matrix([HOSTILE], [[2]], [HOSTILE], HOSTILE),
        charts.scatter([(0, 1)], HOSTILE, HOSTILE, HOSTILE),
        charts.reliability([(0.5, 0.5, 3, 0.4, 0.6)], HOSTILE),
        charts.count_bars([(HOSTILE, (1, 2, 3))], HOSTILE),
        charts.histogram([(1, 2, 3)], HOSTILE, HOSTILE, HOSTILE),
        pictures.overlay(b"", 4, 4, [("truth", np.ones((4, 4), bool))], HOSTILE, (1, 1)),
    ]
    for drawing in drawings:
        assert "<script" not in drawing and "&lt;script&gt;" in drawing and not set("\u202e\x00") & set(drawing)
        assert isinstance(drawing, Markup)


def test_marks_of_code_are_the_only_markup_in_a_sentence():
    assert text.code("run `iqaflow <x>` & <b>") == "run <code>iqaflow &lt;x&gt;</code> &amp; &lt;b&gt;"


def test_values_are_shortened_and_none_is_no_text():
    assert text.short("x" * 1000, 10) == "x" * 9 + "…"
    assert text.short(None) == text.visible(None) == "" and text.visible(7) == "7"


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="checks"):
        render("data_docs.html", suites=[], failed=0)


@pytest.mark.parametrize("name", ["style.css", "data_docs.css"])
def test_styles_load_nothing(name):
    assert not re.search(r"url\(|@import|</", Path(charts.__file__).with_name(name).read_text(encoding="utf-8"))


def test_pages_may_load_nothing():
    head = render("head.html")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in head and "<script" not in head


def test_every_split_has_its_own_bar_and_key():
    drawing = charts.count_bars([("blur", (1, 2, 3))], "images")
    assert all(f'class="{split}"' in drawing and f'class="{split}"' in charts.KEYS[split] for split in SPLITS)
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="16"', drawing)]
    assert widths == pytest.approx([widths[0], 2 * widths[0], 3 * widths[0]], abs=0.02)


@pytest.mark.parametrize("side", [20, 1200])
def test_outline_follows_the_mask_and_its_hole(side):
    mask = np.zeros((side, side), bool)
    mask[5:15, 4:12] = True
    mask[8:11, 6:9] = False
    paths = svg.outline(mask).split("M")[1:]
    loops = [np.array([point.split() for point in path.rstrip("z").split("L")], float) for path in paths]
    assert len(loops) == 2
    outer = max(loops, key=lambda loop: np.ptp(loop[:, 0]))
    within = 0.13 if side == 20 else 0.51  # a large mask is drawn through the pixels' centres
    assert np.abs(outer.min(0) - (4, 5)).max() < within and np.abs(outer.max(0) - (12, 15)).max() < within

"""What the model says, as HTML: pieces of `views.html`, where all text is escaped, because models, files and people write it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from iqaflow.draw.html import environment
from iqaflow.draw.marks import colour
from iqaflow.draw.text import faults, percent, plain

REFERENCE = re.compile(r"\[([^\]]*)\]\(<[\d, ]+>\)")  # [dark green region](<63, 190>): the cells are for the model


def head(model: str, note: str) -> Markup:
    """Title, which model answers, and what to know about it."""
    return _pieces().head(model, note)


def message(text: str, alert: bool = False) -> Markup:
    """One sentence where results would be; `alert` for what went wrong."""
    return _pieces().message(text, alert)


def verdict(result: dict[str, Any], reference: str | None = None) -> Markup:
    """What is said of a whole image: score, distortions, description, answer to a question; `reference` names its original."""
    return _pieces().verdict(result, reference)


def score(rated: dict[str, Any]) -> Markup:
    """The score, its word, and how likely each of the five words is."""
    return _pieces().score(rated)


def bars(distortions: Sequence[dict[str, Any]]) -> Markup:
    """A bar of confidence for each distortion."""
    return _pieces().bars(distortions)


def legend(regions: Sequence[dict[str, Any]], pointed: bool = False) -> Markup:
    """Number, colour and verdict of every region in the picture; the last is the one `pointed` to."""
    return _pieces().legend(regions, pointed)


def legends(regions: Mapping[str, Sequence[dict[str, Any]]]) -> Markup:
    """Legends of several pictures, each under its name."""
    return _pieces().legends(regions)


def region(at: int, verdict: Mapping[str, Any]) -> Markup:
    """The answer about the region number `at` that a person pointed to."""
    return _pieces().region(at + 1, verdict)


def comparison(result: dict[str, Any]) -> Markup:
    """Which image is better, how sure, and why."""
    files = {name: plain(about.get("path")) for name, about in zip(("Image A", "Image B"), result["images"], strict=True)}
    if result["better"] not in files:
        return message(result["reason"])
    return _pieces().comparison(result, files[result["better"]])


def sides(result: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The regions to draw on each of two compared images: where they differ, numbered alike on both, if they are versions of one
    picture; else what is wrong in each.
    """
    names = "Image A", "Image B"
    if changed := result.get("differences"):
        return {
            name: [{**region, **region["images"][name], "points": [], "confidence": None} for region in changed] for name in names
        }
    return {name: [region for region in result["regions"] if region["image"] == name] for name in names}


@functools.cache
def _pieces() -> Any:
    """The macros of `views.html`."""
    pages = environment(Path(__file__).parent)
    pages.filters |= {"spoken": _spoken, "percent": percent, "faults": faults, "width": _width}
    pages.globals |= {"colour": colour}
    return pages.get_template("views.html").module


def _spoken(text: Any) -> str:
    """For a person: references to cells become the words they stand for."""
    return REFERENCE.sub(r"\1", " ".join(str(text).split()))


def _width(share: float) -> str:
    return f"{100 * min(max(float(share), 0.0), 1.0):.1f}%"

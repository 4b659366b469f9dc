"""Text of a page: what comes from data, models and people is untrusted, so nothing in it may hide or turn around what is written.
Jinja2 does the escaping.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

HIDDEN = ("Cc", "Cf", "Cs", "Co")  # Unicode's controls, formats (directions among them), surrogates and private characters
CODE = re.compile(r"`([^`]*)`")


def visible(value: Any) -> str:
    """A value as text (None as none), with a visible mark for each control or direction character."""
    text = "" if value is None else str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if unicodedata.category(mark) in HIDDEN and mark not in "\n\t" else mark for mark in text)


def short(value: Any, longest: int = 600) -> str:
    """A value as text of at most `longest` characters."""
    text = "" if value is None else str(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def code(text: str) -> Markup:
    """Text as HTML, with what stands in backticks as code."""
    pieces = CODE.split(visible(short(text)))
    return Markup().join(Markup("<code>{}</code>").format(piece) if at % 2 else piece for at, piece in enumerate(pieces))


def number(value: float) -> str:
    return f"{value:,.0f}"


def plural(count: int, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def share(value: float) -> str:
    """A fraction as per cent."""
    return f"{100 * value:.0f} %"


def recipe(image: Mapping[str, Any], named: bool = False) -> list[str]:
    """What was done to an image (a row of the `images` table), a phrase for each distortion: `moderate blur in a region`, or,
    with regions `named`, `moderate blur in the dark green region`. A category that nobody knows any more keeps its name.
    """
    from iqaflow.distortions import categories

    known = categories()
    labels = {region["region_id"]: region["label"] for region in (image["regions"] or () if named else ()) if region}
    phrases = []
    for distortion in filter(None, image["distortions"] or ()):
        category, place = distortion["category"], distortion["region_id"]
        where = "" if place is None else f" in the {labels.get(place, 'unknown region')}" if named else " in a region"
        phrases.append(f"{distortion['severity']} {known[category].phrase if category in known else category}{where}")
    return phrases

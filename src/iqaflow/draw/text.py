"""The words of a picture: its typeface, lines that fit, and short names of what is wrong."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import ImageFont


@functools.lru_cache(maxsize=32)
def typeface(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: many scripts, the same shapes on every machine."""
    from PIL import ImageFont

    package = importlib.util.find_spec("matplotlib")  # importing it would take a second
    home = Path(str(package.origin)).parent if package else Path()
    return ImageFont.truetype(home / f"mpl-data/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", size_px)


def wrap(text: str, font: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """Lines no wider than `width_px`; a word that is wider is broken."""
    lines, line = [], ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width_px:
            lines.append(line)
            line = ""
        else:
            word = f"{line} {word}" if line else word
        while font.getlength(word) > width_px and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= width_px)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


def faults(distortions: Iterable[Any], confidence: bool = True) -> str:
    """`serious blur 92%, slight noise` from the distortions of an assessment or a region."""
    parts = []
    for entry in distortions or []:
        entry = {"category": entry} if isinstance(entry, str) else entry
        words = f"{entry.get('severity') or ''} {_phrase(entry.get('category'), entry.get('phrase'))}".strip()
        sure = next((entry[key] for key in ("confidence", "probability") if entry.get(key) is not None), None)
        parts.append(f"{words} {percent(sure)}" if confidence and sure is not None else words)
    return ", ".join(part for part in parts if part)


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


def _phrase(category: Any, spoken: Any = None) -> str:
    """The words of the model for a category, or else those of today."""
    from iqaflow.distortions import categories

    if spoken:
        return plain(spoken)

    known = categories().get(str(category or ""))
    return known.phrase if known else plain(category)


def percent(share: float) -> str:
    """`92%` from 0.92."""
    return f"{100 * float(share):.0f}%"


def plain(text: Any) -> str:
    """One printable line of at most 120 characters: models and users write labels."""
    clean = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text or "")).split())
    return clean if len(clean) <= 120 else clean[:119] + "…"

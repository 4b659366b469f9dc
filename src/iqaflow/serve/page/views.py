"""What the model says, as HTML: plain pieces in the page's own colours, so that they fit light and dark.

Every bar has its number in words beside it, every region its number as well as its colour; all text is escaped, because
models, files and people write it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from iqaflow.draw.marks import colour
from iqaflow.draw.text import faults, percent, plain

REFERENCE = re.compile(r"\[([^\]]*)\]\(<[\d, ]+>\)")  # [dark green region](<63, 190>): the cells are for the model


def head(model: str, note: str) -> str:
    """Title, which model answers, and what to know about it."""
    more = f'<p class="iq-note">{escape(note)}</p>' if note else ""
    return (f'<header class="iq-head"><h1>iqaflow</h1><p>What is wrong with an image, where, how badly, and how sure the model '
            f'is. Model: <b>{escape(model)}</b></p>{more}</header>')


def message(text: str, alert: bool = False) -> str:
    """One sentence where results would be; `alert` for what went wrong."""
    return f'<p class="iq-message{" iq-alert" if alert else ""}" role="{"alert" if alert else "status"}">{escape(text)}</p>'


def verdict(result: dict[str, Any], reference: str | None = None) -> str:
    """What is said of a whole image: score, distortions, description, answer to a question; `reference` names its original."""
    parts = [heading("The whole image", f"held against {reference}" if reference else ""), score(result["score"]),
             heading("Distortions", "how sure"), bars(result["distortions"])]
    if answer := result.get("answer"):
        parts += [heading("Your question"), f'<p class="iq-asked">{_text(answer["question"])}</p>',
                  f'<p>{_text(answer["text"])} <span class="iq-faint">{percent(answer["confidence"])} sure</span></p>']
    told = result.get("description") or {}
    if told:
        parts += [heading("In words"), f'<p>{_text(told.get("brief", ""))}</p>',
                  f'<details><summary>In detail</summary><p>{_text(told.get("detailed", ""))}</p></details>']
    return f'<section class="iq-card" aria-label="Assessment">{"".join(parts)}</section>'


def score(rated: dict[str, Any]) -> str:
    """The score, its word, and how likely each of the five words is."""
    chances = rated["distribution"]
    columns = "".join(
        f'<li class="{"iq-best" if word == rated["level"] else ""}"><span>{percent(chances[word])}</span>'
        f'<span class="iq-column"><i style="height:{_width(chances[word])}"></i></span><span>{word}</span></li>'
        for word in chances)
    return (f'<p class="iq-score"><strong>{rated["value"]:.2f}</strong> <span class="iq-level">{escape(rated["level"])}</span> '
            f'<span class="iq-faint">quality from 0 to 1, {percent(rated["confidence"])} sure of the word</span></p>'
            f'<ol class="iq-words" aria-label="How likely each word is">{columns}</ol>')


def bars(found: Sequence[dict[str, Any]]) -> str:
    """A bar of confidence for each distortion."""
    if not found:
        return '<p class="iq-none">No distortion found.</p>'
    rows = "".join(_bar(f"{one.get('severity', '')} {one['phrase']}", one["confidence"]) for one in found)
    return f'<ul class="iq-bars">{rows}</ul>'


def legend(regions: Sequence[dict[str, Any]], asked: bool = False) -> str:
    """Number, colour and verdict of every region in the picture; the last is the one `asked` about."""
    rows = []
    for at, region in enumerate(regions):
        mine = asked and at == len(regions) - 1
        said = faults(region["distortions"]) or "no distortion named"
        sure = region.get("confidence")  # where a difference lies is measured, not guessed
        sure = "" if sure is None else f" · {percent(sure)} sure of the {'answer' if mine else 'place'}"
        rows.append(f'<li>{swatch(at)}<span><b>{_text(region["label"])}</b>{" (you asked)" if mine else ""}: {_text(said)}'
                    f'<span class="iq-faint"> · quality {region["score"]["value"]:.2f}{sure}</span></span></li>')
    return f'<ol class="iq-legend" aria-label="Regions">{"".join(rows)}</ol>' if rows else ""


def legends(regions: dict[str, Sequence[dict[str, Any]]]) -> str:
    """Legends of several pictures, each under its name."""
    return "".join(f"{heading(name)}{legend(found) or '<p class=iq-none>No region stands out.</p>'}"
                   for name, found in regions.items())


def region(at: int, found: dict[str, Any]) -> str:
    """The answer about the region number `at` that a person pointed to."""
    title = heading(f"Region {at + 1}, where you pointed", mark=swatch(at))
    return (f'<section class="iq-card" aria-label="Region">{title}'
            f'<p>{_text(found["label"])} <span class="iq-faint">{percent(found["confidence"])} sure of the answer</span></p>'
            f'{bars(found["distortions"])}{score(found["score"])}</section>')


def comparison(result: dict[str, Any]) -> str:
    """Which image is better, how sure, and why."""
    names = {name: plain(about.get("path")) for name, about in zip(("Image A", "Image B"), result["images"], strict=True)}
    better = result["better"]
    if better not in names:
        return message(result["reason"])
    file = f' <span class="iq-faint">{escape(names[better])}</span>' if names.get(better) else ""
    return (f'<section class="iq-card" aria-label="Comparison"><p class="iq-score"><strong>{escape(better)}</strong> '
            f'<span class="iq-level">is better</span>{file}</p>'
            f'<ul class="iq-bars">{_bar("confidence", result["confidence"])}</ul>'
            f'<p>{_text(result["reason"])}</p>{differences(result.get("differences"))}</section>')


def differences(changed: Sequence[dict[str, Any]] | None) -> str:
    """What differs where, numbered as in both pictures; nothing for two pictures of different things."""
    if changed is None:
        return ""
    rows = "".join(
        f'<li>{swatch(at)}<span><b>{_text(one["label"])}</b>: {escape(one["better"])} is better here'
        f'<span class="iq-faint"> · {percent(one["confidence"])} sure</span></span></li>' for at, one in enumerate(changed))
    return heading("What differs where") + (f'<ol class="iq-legend">{rows}</ol>' if rows else "<p>No place stands out.</p>")


def heading(text: str, right: str = "", mark: str = "") -> str:
    return f'<h3>{mark}<span>{escape(text)}</span><span class="iq-faint">{escape(right)}</span></h3>'


def swatch(at: int) -> str:
    """The number of a region as its tag in the picture looks."""
    red, green, blue = colour(at)
    return f'<span class="iq-swatch" style="border-color:rgb({red},{green},{blue})">{at + 1}</span>'


def _bar(words: str, share: float) -> str:
    return (f'<li><span>{_text(words)}</span><span>{percent(share)}</span>'
            f'<i class="iq-track"><i style="width:{_width(share)}"></i></i></li>')


def _text(text: Any) -> str:
    """For a person: references to cells become the words they stand for; escaped."""
    return escape(REFERENCE.sub(r"\1", " ".join(str(text).split())))


def _width(share: float) -> str:
    return f"{100 * min(max(float(share), 0.0), 1.0):.1f}%"

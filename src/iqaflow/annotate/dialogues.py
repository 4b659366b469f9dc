"""Texts that people or other models wrote, as exchanges: what they say stays as it is; task, style and targets are read off.

Any question about two images is `rate`. About one image an answer that begins with yes or no is `vqa`, names of distortions
and nothing else are `identify`, any other long answer is `describe` and a short one `vqa`.
"""

from __future__ import annotations

import re

from iqaflow import distortions
from iqaflow.tasks import grammar
from iqaflow.tasks.phrasing import describe, rate
from iqaflow.tasks.scene import Exchange, Scene, Targets

KIND = "imported"
BRIEF_WORDS = 12  # an answer of at most so many words is brief
_NAMED = re.compile(r"\bImage ([AB])\b", re.IGNORECASE)
# who asks for the better image; and what may turn the meaning round
_BETTER = re.compile(r"\b(better|best|superior|higher quality|preferred|prefer)\b", re.IGNORECASE)
_TURNED = re.compile(r"\b(worse|worst|inferior|lower|poorer|poor|less|least|neither|nor|not|both|no)\b", re.IGNORECASE)


def turn(question: str, answer: str, scene: Scene | None) -> Exchange:
    """A question of a dialogue with its answer. `scene` holds what is known of its image; None for a pair of images."""
    task = "rate" if scene is None else _task(answer)
    targets = Targets(
        known(grammar.parse(answer).categories, scene), kind=KIND, better=_better(question, answer) if scene is None else None
    )
    return Exchange(task, "brief" if _brief(answer) else "detailed", question, answer, targets)


def description(text: str, scene: Scene | None, reference: bool) -> Exchange:
    """A description that came without a question as the answer to the plain one."""
    pool: tuple[str, ...]
    if scene is None:
        pool = rate.BRIEF if _brief(text) else rate.DETAILED
    elif reference:
        pool = describe.REFERENCE
    else:
        pool = describe.BRIEF if _brief(text) else describe.WORDS
    exchange = turn(pool[0], text, scene)
    return Exchange("rate" if scene is None else "describe", exchange.style, exchange.question, text, exchange.targets)


def spans(exchange: Exchange) -> list[list[int]]:
    """[start, end) characters of the words of the closed vocabulary in a text that names no labels."""
    return [list(span) for span in grammar.spans(exchange.answer)]


def known(categories: tuple[str, ...], scene: Scene | None) -> tuple[str, ...]:
    """Of the categories that a text mentions those that people found: "no noise" mentions one that is not there."""
    there = {flaw.category for flaw in scene.flaws} if scene else set()
    return tuple(category for category in categories if category in there)


def _brief(answer: str) -> bool:
    return len(answer.split()) <= BRIEF_WORDS


def _task(answer: str) -> str:
    read = grammar.parse(answer)
    if read.affirmed is not None:
        return "vqa"
    names = sorted(map(distortions.phrase, distortions.categories()), key=len, reverse=True)
    if not re.sub(rf"\b({'|'.join(map(re.escape, names))}|{grammar.CLEAN}|and)\b|[^a-z]", "", answer.lower()):
        return "identify"
    return "vqa" if _brief(answer) else "describe"


def _better(question: str, answer: str) -> str | None:
    """The image that an answer prefers, where question and answer leave no doubt."""
    named = {match.upper() for match in _NAMED.findall(answer)}
    text = f"{question} {answer}"
    if len(named) != 1 or not _BETTER.search(text) or _TURNED.search(text):
        return None
    return f"Image {named.pop()}"

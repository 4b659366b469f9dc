"""The sentences of the tasks, one module of plain data per task: question pools and answer templates.

The first of every pool is the plain test question (or the plain answer to it); models in use were trained on these, so
they never change. Pools are at least as large as the papers' (tests/unit/test_tasks.py has the numbers). Templates have
no word of the closed vocabulary outside their slots, so that an answer says its truth and nothing else.

`{region}` names a region; `{s}`, `{is_}`, `{Is}`, `{does}`, `{Does}`, `{has}`, `{its}` agree with it in number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PLAIN_SHARE = 0.25  # how often a training question is worded as tests word it
# what turns a question about an image into one about an image and its reference
LEADS = (
    "Compared with the reference, ",
    "Given the reference, ",
    "Beside the reference, ",
    "With the reference as a guide, ",
    "Looking at the reference too, ",
    "Taking the reference into account, ",
)
_PLURALS = {"people", "men", "women", "children", "teeth", "feet"}


def draw(rng: np.random.Generator, pool: Sequence[str], plain: bool = False) -> str:
    """The first of a pool if `plain`, else that one a quarter of the time and any other equally often."""
    if plain or len(pool) == 1 or rng.random() < PLAIN_SHARE:
        return pool[0]
    return pool[1 + int(rng.integers(len(pool) - 1))]


def led(rng: np.random.Generator, question: str) -> str:
    """A question as it is put when the reference is shown too."""
    first = question[0] if question.startswith("I ") else question[0].lower()
    return f"{LEADS[int(rng.integers(len(LEADS)))]}{first}{question[1:]}"


def agreeing(label: str) -> dict[str, str]:
    """The words that agree in number with a region's label: `grass` is one thing, `leaves` are many."""
    last = label.lower().partition(" of ")[0].rpartition(" ")[2]  # a group of people is one
    many = last in _PLURALS or (last.endswith("s") and not last.endswith(("ss", "us", "is")))
    if many:
        return {"s": "", "is_": "are", "Is": "Are", "does": "do", "Does": "Do", "has": "have", "its": "their", "Its": "Their"}
    return {"s": "s", "is_": "is", "Is": "Is", "does": "does", "Does": "Does", "has": "has", "its": "its", "Its": "Its"}


def filled(template: str, region: str, label: str, **more: str) -> str:
    """A template with a region's name in it, the verbs in the number of its label."""
    return template.format(region=region, **agreeing(label), **more)


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; each part once."""
    once = list(dict.fromkeys(parts))
    return " and ".join([", ".join(once[:-1]), once[-1]] if len(once) > 1 else once)

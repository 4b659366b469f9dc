"""How many kinds of distortion an image shows."""

from __future__ import annotations

from iqaflow.tasks.phrasing import draw
from iqaflow.tasks.scene import Exchange, Targets, levels, named
from iqaflow.tasks.task import Counted, Task

WORDS = ("zero", "one", "several")
ASKED = tuple(
    f"{start} kinds of distortion {end}?"
    for start in ("How many", "Count the kinds: how many")
    for end in ("does the image show", "are there", "can be seen")
)


def questions(scene, reference, rng, plain=False):
    if not scene.visible(reference):
        return []
    categories = named(scene.flaws)
    answer = WORDS[min(len(categories), 2)]
    return [Exchange("count", "brief", draw(rng, ASKED, plain), answer, Targets(categories, levels(scene.flaws)), (answer,))]


def check(answer, meant):
    wanted = WORDS[min(len(set(meant.categories)), 2)]
    return None if answer == wanted else f"says {answer}, the targets are {wanted}"


TASK = Task(
    name="count",
    about="image",
    questions=questions,
    headline="accuracy",
    check=check,
    closed=lambda row, vocabulary: WORDS,
    credit=lambda target, text: (text, float(text == target)),
    item=lambda row, image: Counted("all", WORDS[min(len(row["targets"]["categories"]), 2)]),
)

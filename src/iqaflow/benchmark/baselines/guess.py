"""What no look at the image gives: `chance` (any allowed answer) and `majority` (the commonest answer in training)."""

from __future__ import annotations

from collections import Counter

import numpy as np

from iqaflow import tasks
from iqaflow.benchmark.baselines import Answers, Questions, answer, baseline
from iqaflow.distortions import categories
from iqaflow.tasks.grading.answers import NONE
from iqaflow.tasks.grading.items import Question, truth


@baseline("chance", "any allowed answer, drawn at random")
def chance(questions: Questions) -> Answers:
    rng = np.random.default_rng(questions.config.seed)
    phrases = [entry.phrase for entry in categories().values()]
    for item, _ in questions.of("identify", "rate", "refer", "vqa"):
        if item["family"] == "rate":
            text = f"Image {'AB'[rng.integers(2)]}"
        elif item["cell"] == "yesno":
            text = ("yes", "no")[rng.integers(2)]
        elif item["family"] == "identify" and questions.two(item):
            text = " and ".join(rng.choice(phrases, 2, replace=False))
        else:
            allowed = phrases if item["cell"] == "what" else [*phrases, NONE]
            text = allowed[rng.integers(len(allowed))]
        yield answer(item, text)


@baseline("majority", "the commonest answer of the training split, whatever the image")
def majority(questions: Questions) -> Answers:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for known in truth(questions.split("train"), questions.dialogues("train"), questions.config)[0]:
        counts.setdefault(_group(known, " and " in known["target"]), Counter())[known["target"]] += 1
    common = {key: min(count.items(), key=lambda entry: (-entry[1], entry[0]))[0] for key, count in counts.items()}
    short = [task.name for task in tasks.known().values() if task.credit and not task.description]
    for item, _ in questions.of(*short):
        key = _group(item, item["family"] == "identify" and questions.two(item))
        if key in common:
            yield answer(item, common[key])


def _group(item: Question, two: bool) -> tuple[str, str]:
    """Questions that look alike from outside share an answer."""
    if item["family"] == "identify":
        return "identify", "two" if two else "one"
    return item["family"], item["cell"] if item["family"] == "vqa" else ""

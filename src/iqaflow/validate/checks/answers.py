"""Whether an answer says what its targets say: every answer is read back by the one parser of the grammar.

Answers of imported data are free text; those of grounded descriptions must give the boxes of their targets.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NAMES_CATEGORIES = ("identify", "describe", "describe_local", "refer")
READ = ("origin", "task", "style", "answer", "label_words", "kind", "better", "target_categories", "target_boxes")
CELLS = 400
# every box of `[label](<i, j>, <k, l>)`
_GROUPS, _BOX = re.compile(r"\]\(([^()]*)\)"), re.compile(r"<\s*(\d+)(?:\s*,\s*(\d+))?\s*>")


def faults(conversations: pd.DataFrame) -> np.ndarray:
    """For each row of frame `conversations` null, or the difference between answer and targets in words.

    Many rows say the same thing of the same truth: each such case is read once.
    """
    import numpy as np

    found = np.full(len(conversations), None, dtype=object)
    if not len(conversations):
        return found
    group = conversations.groupby(list(READ), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    cases = conversations[list(READ)].iloc[first].astype(object)
    cases = cases.where(cases.notna(), None)
    verdicts = np.array([fault(*case) for case in cases.itertuples(index=False)] + [None], dtype=object)
    return verdicts[:-1][group]


def fault(origin: str | None, task: str | None, style: str | None, answer: str | None, words: str | None, kind: str | None,
          better: str | None, categories: str | None, boxes: str | None) -> str | None:
    """Null if the parsed answer agrees with its targets, else the difference in words.

    `words` are the label words of the answer; `categories` the target ids, `boxes` the target boxes `first-last`, each
    joined by spaces. Categories are compared for the tasks that name them, boxes for those that give them, the choice of
    `rate` by its label words (a reason may mention both images), the rating word of `score`, yes or no of `vqa`.
    """
    answer = answer or ""
    if not answer.strip() or task is None:
        return None  # other checks name an empty answer and a missing task
    meant_boxes = sorted(set((boxes or "").split()))
    if origin == "imported":
        return _off_grid(answer)
    if origin == "grounded":
        return _off_grid(answer) or (_differ(_boxes(answer), meant_boxes) if meant_boxes else None)
    try:
        said = _parse(task, answer)
    except ValueError as error:
        return str(error)[:200]
    kind = kind or ""
    if task == "rate":
        chosen = _parse(task, words or "").better
        return None if chosen == better else f"says {chosen}, the target is {better}"
    if task == "score":
        return None if said.rating else "names no rating word"
    if task == "vqa" and kind.startswith("yesno"):
        return None if said.affirmed is not None else "says neither yes nor no"
    if task in NAMES_CATEGORIES or task == "vqa":
        named, meant = sorted(said.categories), sorted(set((categories or "").split()))
        if named != meant:
            return f"names {', '.join(named) or 'none'}, the targets are {', '.join(meant) or 'none'}"
    given = _boxes(answer)
    return _differ(given, meant_boxes) if given or task == "ground" else None  # others may name places by words


def _boxes(answer: str) -> list[str]:
    """The boxes that an answer gives, `first-last`, sorted; points are none."""
    return sorted({f"{first}-{last}" for group in _GROUPS.findall(answer) for first, last in _BOX.findall(group) if last})


def _differ(said: list[str], meant: list[str]) -> str | None:
    return None if said == meant else f"gives boxes {', '.join(said) or 'none'}, the targets are {', '.join(meant) or 'none'}"


def _off_grid(answer: str) -> str | None:
    cells = [int(cell) for group in _GROUPS.findall(answer) for box in _BOX.findall(group) for cell in box if cell]
    beyond = [cell for cell in cells if cell >= CELLS]
    return f"names cell {beyond[0]}, the grid has 0..{CELLS - 1}" if beyond else None


@lru_cache(maxsize=65_536)
def _parse(task: str, answer: str) -> Any:
    from iqaflow import tasks

    return tasks.parse(task, answer)

"""Whether an answer says what its targets say: every answer is read back by the one parser of the grammar.

Answers of imported data are free text; those of grounded descriptions must give the boxes of their targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iqaflow import tasks
from iqaflow.tasks.grading import checks
from iqaflow.tasks.task import Meant

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

READ = ("origin", "task", "style", "answer", "label_words", "kind", "better", "target_categories", "target_boxes")


def faults(conversations: pd.DataFrame) -> np.ndarray:
    """For each row of frame `conversations` null, or the difference between answer and targets in words.

    Many rows say the same thing of the same truth: each such case is read once.
    """
    import numpy as np

    if not len(conversations):
        return np.full(0, None, dtype=object)
    group = conversations.groupby(list(READ), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    cases = conversations[list(READ)].iloc[first].astype(object)
    cases = cases.where(cases.notna(), None)
    verdicts = np.array([fault(*case) for case in cases.itertuples(index=False)] + [None], dtype=object)
    return verdicts[:-1][group]


def fault(
    origin: str | None,
    task: str | None,
    style: str | None,
    answer: str | None,
    words: str | None,
    kind: str | None,
    better: str | None,
    categories: str | None,
    boxes: str | None,
) -> str | None:
    """Null if the parsed answer agrees with its targets, else the difference in words.

    `words` are the label words of the answer; `categories` the target ids, `boxes` the target boxes `first-last`, each
    joined by spaces. How they are compared each task says itself (`Task.check`).
    """
    answer = answer or ""
    if not answer.strip() or task is None:
        return None  # other checks name an empty answer and a missing task
    meant = Meant(kind or "", better, tuple((categories or "").split()), tuple((boxes or "").split()), words or "")
    if origin == "imported":
        return checks.off_grid(answer)
    if origin == "grounded":
        return checks.off_grid(answer) or (checks.boxes(answer, meant, needed=True) if meant.boxes else None)
    try:
        return tasks.find(task).check(answer, meant)
    except ValueError as error:
        return str(error)[:200]

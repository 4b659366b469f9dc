"""What only the whole set can show: classes, choices and phrasings in balance, and no question asked over and over.

Only rows the pipeline words itself are judged (synthetic and authentic): an imported data set is as it is. Bounds follow
the number of independent draws (images, not questions), so that a small set is not failed by chance (chance.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from iqaflow import tasks
from iqaflow.data.tables import SPLITS
from iqaflow.validate.checks import chance

if TYPE_CHECKING:
    import pandas as pd

OURS = ("synthetic", "authentic")  # origins whose questions and answers the pipeline words
SKEW = 3.0  # a category may be drawn this many times more or less often than uniformly: pairs and redraws are not uniform
EVEN = (1 / 3, 2 / 3)  # where the share of `Yes` and of `Image A` may lie
DOMINANT = 0.4  # most of a task's questions that may have one wording
REPEATED = 0.1  # most of a task's rows that may repeat another word for word
VARIETY = ((30, 4), (100, 8), (400, 15))  # from so many images, a task needs so many wordings
TRUTH = ("kind", "better", "target_categories", "target_regions", "target_boxes")


def categories(images: pd.DataFrame, distortions: pd.DataFrame) -> pd.DataFrame:
    """One row per split and category, then `none`: how many synthetic `images` show it, its `share` of all (image, category)
    pairs of the split, and the bounds `low` and `high` of that share (none for `none`).
    """
    import pandas as pd

    from iqaflow import distortions as known

    synthetic = images[images["origin"] == "synthetic"]
    shown = distortions.assign(split=distortions["row_of_image"].map(synthetic["split"]))
    shown = shown.dropna(subset=["split"]).drop_duplicates(["row_of_image", "category"])
    expected = 1 / len(known.categories())
    rows = []
    for split in SPLITS:
        mine = shown.loc[shown["split"] == split, "category"].value_counts()
        n = int(mine.sum())
        low, high = chance.least(n, expected / SKEW), chance.most(n, expected * SKEW)
        rows += [(split, name, int(mine.get(name, 0)), mine.get(name, 0) / max(n, 1), low, high) for name in known.categories()]
        clean = int(((synthetic["split"] == split) & (synthetic["extent"] == "clean")).sum())
        rows.append((split, "none", clean, clean / max(int((synthetic["split"] == split).sum()), 1), 0.0, 1.0))
    return pd.DataFrame(rows, columns=["split", "category", "images", "share", "low", "high"])


def choices(conversations: pd.DataFrame) -> pd.DataFrame:
    """One row per split and either-or question: `share` of the answers that are the first choice, and its bounds."""
    import pandas as pd

    ours = conversations[conversations["origin"].isin(OURS)]
    yesno = ours[(ours["task"] == "vqa") & ours["kind"].fillna("").str.startswith("yesno")]
    first_choices = {
        "vqa: Yes": (yesno, yesno["answer"].fillna("").str.strip().str.match("Yes", case=False)),
        "rate: Image A": (rated := ours[ours["task"] == "rate"], rated["better"] == "Image A"),
    }
    rows = []
    for split in SPLITS:
        for name, (frame, first) in first_choices.items():
            mine = (frame["split"] == split).to_numpy(bool)
            n = int(frame.loc[mine, "shown"].nunique())  # several questions about one pair have one truth
            share = float(first[mine].mean()) if mine.any() else 0.5
            rows.append((split, name, int(mine.sum()), n, share, chance.least(n, EVEN[0]), chance.most(n, EVEN[1])))
    return pd.DataFrame(rows, columns=["split", "choice", "questions", "images", "share", "low", "high"])


def phrases(conversations: pd.DataFrame) -> pd.DataFrame:
    """One row per task, of the training split (tests ask everything in one wording): its `questions`, how many sets of `images`
    they are about, the number of `wordings` and the least there should be, the `top_share` of the most common `wording`, the
    share `repeated` word for word, and their limits.
    """
    import pandas as pd

    ours = conversations[conversations["origin"].isin(OURS) & (conversations["split"] == "train")]
    rows = []
    for task in tasks.names():
        mine = ours[ours["task"] == task]
        n = int(mine["shown"].nunique())
        counts = wording(mine["question"].fillna("")).value_counts()
        top = float(counts.iloc[0]) / len(mine) if len(mine) else 0.0
        needed = max((number for images, number in VARIETY if n >= images), default=min(len(counts), 1))
        again = float(mine.duplicated(["shown", "question", "answer"]).mean()) if len(mine) else 0.0
        rows.append(
            (
                task,
                len(mine),
                n,
                len(counts),
                needed,
                str(counts.index[0]) if len(counts) else "",
                top,
                chance.most(n, DOMINANT),
                again,
                chance.most(len(mine), REPEATED),
            )
        )
    return pd.DataFrame(
        rows,
        columns=[
            "task",
            "questions",
            "images",
            "wordings",
            "wordings_needed",
            "wording",
            "top_share",
            "top_limit",
            "repeated",
            "repeated_limit",
        ],
    )


def wording(questions: pd.Series) -> pd.Series:
    """Questions with what differs from image to image taken out: regions, boxes, names of distortions, the fixed tail."""
    from iqaflow import distortions
    from iqaflow.tasks.grammar import TAIL

    names = "|".join(sorted((distortions.phrase(name) for name in distortions.categories()), key=len, reverse=True))
    marks = (
        (re.compile(re.escape(TAIL)), ""),
        (re.compile(r"\[[^\]]*\]\([^()]*\)(?: at the \w+ \w+)?"), "REGION"),
        (re.compile(r"\bthe (?:(?!the\b)[\w-]+ )+at the (?:top|bottom) (?:left|right)\b"), "the REGION"),
        (re.compile(rf"\b(?:{names})\b"), "DISTORTION"),
    )

    def cut(text: str) -> str:
        for pattern, mark in marks:
            text = pattern.sub(mark, text)
        return text.strip()

    return questions.map({text: cut(text) for text in questions.unique()})


def contradictions(conversations: pd.DataFrame) -> np.ndarray:
    """For each conversation of ours null, or the id of an earlier one that asks the same of the same images, with another
    truth.
    """
    earlier_ids = np.full(len(conversations), None, dtype=object)
    rows = np.flatnonzero(conversations["origin"].isin(OURS).to_numpy(bool) & conversations["question"].notna().to_numpy())
    ours = conversations.iloc[rows]
    question_group = ours.groupby(["task", "shown", "question"], sort=False, dropna=False).ngroup().to_numpy()
    truth = ours.groupby(list(TRUTH), sort=False, dropna=False).ngroup().to_numpy()
    first = np.full(question_group.max(initial=-1) + 1, -1)
    first[question_group[::-1]] = np.arange(len(question_group))[::-1]
    differs: Sequence[int] = np.flatnonzero(truth != truth[first[question_group]]).tolist() if len(question_group) else ()
    ids = ours["conversation_id"].to_numpy(dtype=object)
    earlier_ids[rows[differs]] = ids[first[question_group[differs]]]
    return earlier_ids

"""Accuracy: the mean credit of answers (DepictQA-Wild section 3.7, Grounding-IQA section 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from iqaflow.benchmark.metrics import metric
from iqaflow.tasks.grading import answers

if TYPE_CHECKING:
    import pandas as pd


@metric("identify", "accuracy", "names the distortion(s), all questions")
@metric("identify", "accuracy_single_nr", "names the distortion, or says there is none", ("single_nr", "clean_nr"), headline=1)
@metric("identify", "accuracy_single_fr", "the same, with the reference beside it", ("single_fr", "clean_fr"))
@metric("identify", "accuracy_two_nr", "names two distortions", ("two_nr",), headline=3)
@metric("identify", "accuracy_two_fr", "names two distortions, with the reference", ("two_fr",))
@metric("identify", "accuracy_local", "names distortions that lie in a part of the image", ("local_nr", "local_fr"), headline=4)
@metric("rate", "accuracy", "tells which of two images is better", headline=7)
@metric("rate", "accuracy_nr", "tells which is better, no reference", ("nr",))
@metric("rate", "accuracy_fr", "tells which is better, with the reference", ("fr",))
@metric("refer", "accuracy", "names the distortions of a given region", headline=10)
@metric("refer", "accuracy_short", "names the distortions of a region, short answer", ("short",))
@metric("refer", "accuracy_long", "names the distortions of a region, long answer", ("long",))
@metric("vqa", "accuracy", "answers questions")
@metric("vqa", "accuracy_yesno", "answers yes/no questions", ("yesno",), headline=11)
@metric("vqa", "accuracy_what", "answers what-questions", ("what",), headline=12)
@metric("describe", "accuracy", "names the right distortions in a description")
@metric("describe_local", "accuracy", "names the right distortions in a description of a region")
def credit(frame: pd.DataFrame) -> np.ndarray:
    """The stored credit: exact match, or for sets hits / max(|predicted|, |true|)."""
    return frame["value"].to_numpy()


@metric("identify", "false_alarm", "calls a clean image distorted", lower_is_better=True)
@metric(
    "identify", "false_alarm_nr", "calls a clean image distorted, no reference", ("clean_nr",), lower_is_better=True, headline=2
)
def false_alarm(frame: pd.DataFrame) -> np.ndarray:
    """Clean images: 1 unless the answer is `none`."""
    clean = frame["target"] == answers.NONE
    return np.where(clean, frame["prediction"] != answers.NONE, np.nan)


@metric("refer", "accuracy_faulty", "names the distortions of a region that has some")
def faulty(frame: pd.DataFrame) -> np.ndarray:
    """Credit on regions that are distorted."""
    return frame["value"].where(frame["target"] != answers.NONE).to_numpy()


@metric("refer", "accuracy_clear", "says that a region has none")
def clear(frame: pd.DataFrame) -> np.ndarray:
    """Credit on regions that are not distorted."""
    return frame["value"].where(frame["target"] == answers.NONE).to_numpy()


@metric("refer", "accuracy_severity", "finds the severity of a distortion it named right")
def severity(frame: pd.DataFrame) -> np.ndarray:
    """Share of right severity words among the categories named right; items with none of them do not count."""
    result = []
    for target, prediction in zip(frame["target"], frame["prediction"], strict=True):
        severities = {category: word for word, category in answers.findings(prediction) or []}
        shared = [word == severities[category] for word, category in answers.findings(target) or [] if category in severities]
        result.append(np.mean(shared) if shared else np.nan)
    return np.array(result)

"""Descriptions: BLEU@4 of the words and recall of the inline boxes (Grounding-IQA section 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from iqaflow.benchmark.metrics import metric
from iqaflow.tasks.grading import answers

if TYPE_CHECKING:
    import pandas as pd

ORDER = 4


def corpus_bleu(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """BLEU 0..100 of resampled corpora from summed n-gram counts: `sacrebleu`'s value, resample by resample."""
    from sacrebleu.metrics import BLEU

    sums = np.rint(weights @ columns).astype(int).tolist()
    return np.array(
        [
            BLEU.compute_bleu(row[:ORDER], row[ORDER:-2], row[-2], row[-1], smooth_method="exp", max_ngram_order=ORDER).score
            for row in sums
        ]
    )


@metric(
    "describe", "bleu4", "matches the wording of the description (BLEU@4, of 100)", maximum=100.0, reduce=corpus_bleu, headline=14
)
@metric("describe_local", "bleu4", "matches the wording about a region (BLEU@4, of 100)", maximum=100.0, reduce=corpus_bleu)
def bleu_counts(frame: pd.DataFrame) -> np.ndarray:
    """n-gram hits (4), n-grams (4), length and reference length of each description, coordinates stripped."""
    from sacrebleu.metrics import BLEU

    bleu = BLEU()
    rows = []
    for target, prediction in zip(frame["target"], frame["prediction"], strict=True):
        score = bleu.corpus_score([answers.strip_boxes(prediction)], [[answers.strip_boxes(target)]])
        rows.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
    return np.array(rows, dtype=float).reshape(len(frame), 2 * ORDER + 2)


@metric("describe", "tag_recall", "puts the boxes of the description on the right objects", headline=15)
def tag_recall(frame: pd.DataFrame) -> np.ndarray:
    """Share of a description's true boxes that are found (IoU > .5, label alike); none to find: not counted."""
    return _boxes(frame, 1)


@metric("describe", "miou", "places the boxes of the description (mean IoU)")
def box_iou(frame: pd.DataFrame) -> np.ndarray:
    """Mean IoU over a description's true boxes, 0 for one that is missing."""
    return _boxes(frame, 0)


def _boxes(frame: pd.DataFrame, part: int) -> np.ndarray:
    result = []
    for target, prediction in zip(frame["target"], frame["prediction"], strict=True):
        pairs = answers.match_boxes(target, prediction)
        result.append(np.mean([pair[part] for pair in pairs]) if pairs else np.nan)
    return np.array(result, dtype=float)

"""Expected calibration error: how far confidence is from the share of right answers (Guo et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from iqaflow.benchmark.metrics import metric

if TYPE_CHECKING:
    import pandas as pd

BINS = 10


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Index of the equal-width bin of each confidence 0..1; a bin holds its upper edge."""
    return np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(int)


def calibration_error(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Columns: confidence, credit. Sum over bins of |mean credit - mean confidence| x share of items."""
    gap = np.zeros((len(columns), BINS))
    gap[np.arange(len(columns)), bin_of(columns[:, 0])] = columns[:, 1] - columns[:, 0]
    return np.abs(weights @ gap).sum(1) / weights.sum(1)


@metric("identify", "ece", "is this far off in its confidence", lower_is_better=True, reduce=calibration_error, headline=13)
@metric("rate", "ece", "is this far off in its confidence", lower_is_better=True, reduce=calibration_error)
@metric("refer", "ece", "is this far off in its confidence", lower_is_better=True, reduce=calibration_error)
@metric("vqa", "ece", "is this far off in its confidence", lower_is_better=True, reduce=calibration_error)
def confidence_and_credit(frame: pd.DataFrame) -> np.ndarray:
    return frame[["confidence", "value"]].to_numpy()


@metric("ground", "ece", "is this far off in its confidence to point right", lower_is_better=True, reduce=calibration_error)
def confidence_and_hit(frame: pd.DataFrame) -> np.ndarray:
    """A point's confidence against whether it hit; whole-image items do not count."""
    return frame[["confidence", "hit"]].where(frame["cell"] != "whole").to_numpy()

"""Two decisions with one threshold each: whether a flaw covers the whole image, and whether the image is clean at all.

Both are fitted on the calibration split by trying every threshold that changes a decision.
"""

from __future__ import annotations

import numpy as np

from iqaflow.grounding.record import Clean, Gate

MAX_FALSE_ALARM = 0.25
MAX_LOSS = 0.05


def thresholds(values: np.ndarray) -> np.ndarray:
    """Every threshold that splits `values` differently: below all, midway between neighbours, above all."""
    ordered = np.unique(values[np.isfinite(values)])
    if not len(ordered):
        return np.zeros(1)
    return np.concatenate([[ordered[0] - 1.0], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1.0]])


def fit_whole(log_odds: np.ndarray, truth: np.ndarray) -> Gate:
    """Threshold on the log-odds (n,) of `whole image` that balances its two errors against truth (n,) bool.

    Minimises the worse of `missed_global` (global flaws given a place) and `local_called_whole`, then their sum;
    among equals the threshold nearest to 0. If one kind is absent the threshold stays 0, for nothing can be balanced.
    """
    log_odds, truth = np.asarray(log_odds, dtype=np.float64), np.asarray(truth, dtype=bool)

    def errors(threshold: float) -> tuple[float, float]:
        called = log_odds > threshold
        return _share(~called[truth]), _share(called[~truth])

    best = 0.0
    if truth.any() and not truth.all():

        def cost(threshold: float) -> tuple[float, ...]:
            missed, wrong = errors(threshold)
            return round(max(missed, wrong), 9), round(missed + wrong, 9), abs(threshold), threshold

        best = float(min(thresholds(log_odds), key=cost))
    missed, wrong = errors(best)
    return {
        "threshold": best,
        "missed_global": missed,
        "local_called_whole": wrong,
        "global": int(truth.sum()),
        "local": int((~truth).sum()),
    }


def fit_clean(
    log_probs: np.ndarray,
    truth: np.ndarray,
    clean: int = -1,
    max_false_alarm: float = MAX_FALSE_ALARM,
    max_loss: float = MAX_LOSS,
) -> Clean:
    """Offset to add to the log-probability of `none` (column `clean`) of log_probs (n, k) before the largest wins.

    Of all offsets with at most `max_false_alarm` clean images called distorted, the most accurate one; if each of
    these costs more than `max_loss` of the best accuracy, the one with the fewest false alarms within that loss.
    Among equals the offset nearest to 0. Without clean or without distorted images the offset is 0.
    """
    log_probs, truth = np.asarray(log_probs, dtype=np.float64), np.asarray(truth)
    if not len(truth):
        return {"offset": 0.0, "accuracy": None, "false_alarm": None, "called_clean": None, "clean": 0, "distorted": 0}
    clean %= log_probs.shape[1]
    others = log_probs.copy()
    others[:, clean] = -np.inf
    margin, named = log_probs[:, clean] - others.max(1), others.argmax(1)
    is_clean = truth == clean

    def rates(offset: float) -> tuple[float, float, float]:
        """Accuracy, clean images called distorted, distorted images called clean."""
        called = margin + offset > 0
        right = np.where(called, is_clean, named == truth)
        return float(right.mean()), _share(~called[is_clean]), _share(called[~is_clean])

    best = 0.0
    if is_clean.any() and not is_clean.all():
        tried = [(*rates(float(offset)), float(offset)) for offset in -thresholds(margin)]
        peak = max(accuracy for accuracy, *_ in tried)
        near = [row for row in tried if row[0] >= peak - max_loss - 1e-9]
        quiet = [row for row in near if row[1] <= max_false_alarm]
        if quiet:
            best = min(quiet, key=lambda row: (-row[0], abs(row[3]), row[3]))[3]
        else:
            best = min(near, key=lambda row: (row[1], -row[0], abs(row[3]), row[3]))[3]
    accuracy, false_alarm, missed = rates(best)
    return {
        "offset": best,
        "accuracy": accuracy,
        "false_alarm": false_alarm,
        "called_clean": missed,
        "clean": int(is_clean.sum()),
        "distorted": int((~is_clean).sum()),
    }


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else 0.0

"""Confidence that means what it says: a temperature per task, a map of the chosen answer's chance, and the reliability reached.

An answer is `(log_probs, truth)`: log-probabilities over the closed set of candidates and the index of the right one.
Confidence is the probability of the chosen candidate (DepictQA-Wild's mean label probability, section 3.6 of the facts
for one label), after the temperature (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iqaflow.engine.calibration import log_odds, surely
from iqaflow.grounding.record import Bin, Curve
from iqaflow.grounding.text_to_point import softmax

Answer = tuple[np.ndarray, int]
RANGE = (0.05, 20.0)  # temperatures searched


def fit_temperature(answers: Sequence[Answer]) -> float:
    """The temperature with the highest likelihood of the truths, held near 1 by the weight of a few answers, so that a
    handful of them cannot make it extreme; 1.0 when there is nothing to fit.
    """
    from scipy.optimize import minimize_scalar

    if not answers:
        return 1.0

    def loss(log_tau: float) -> float:
        return negative_log_likelihood(answers, float(np.exp(log_tau))) + log_tau**2 / len(answers)

    minimum = minimize_scalar(loss, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-4})
    return round(float(np.exp(minimum.x)), 4)


def negative_log_likelihood(answers: Sequence[Answer], temperature: float) -> float:
    """Mean negative log-probability of the truths, in nats; a truth of probability 0 counts as 1e-12."""
    return float(np.mean([-np.log(max(softmax(logs, temperature)[truth], 1e-12)) for logs, truth in answers]))


def judged(answers: Sequence[Answer], temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Confidence (n,) of the chosen candidate and whether it is right (n,) bool."""
    chances = [softmax(logs, temperature) for logs, _ in answers]
    right = [int(np.argmax(row)) == truth for row, (_, truth) in zip(chances, answers, strict=True)]
    return np.array([row.max() for row in chances], dtype=np.float64), np.array(right, dtype=bool)


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[Bin]:
    """Equal-width bins (lo, hi] that hold answers: `lo, hi, n, confidence, accuracy`."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows: list[Bin] = []
    for at in range(bins):
        chosen = index == at
        if chosen.any():
            rows.append(
                {
                    "lo": at / bins,
                    "hi": (at + 1) / bins,
                    "n": int(chosen.sum()),
                    "confidence": float(confidence[chosen].mean()),
                    "accuracy": float(right[chosen].mean()),
                }
            )
    return rows


def expected_error(rows: Sequence[Bin]) -> float:
    """Expected calibration error (ECE): mean |confidence - accuracy| over the bins, weighted by their answers.

    Not shared with `benchmark.metrics.confidence.calibration_error`. An answer falls into the same bin, but this one averages
    each bin, as the diagram shows it, while that one sums gaps by the weights of a thousand resamples at once: on the same
    answers the two agree to 1e-15, not to the last bit.
    """
    total = sum(row["n"] for row in rows)
    return sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / total if total else 0.0


def calibrate(answers: Sequence[Answer], bins: int = 10, mapped: bool = True) -> Curve:
    """Temperature, the map of the chosen answer's chance (`mapped`), ECE before and after, and the reliability bins of both.

    `slope` and `offset` map the log-odds of the chosen answer (Platt 1999): a temperature can only make all answers more or less
    sure, and a model may be too sure of one kind and too modest of another. They stay 1 and 0 unless the map predicts better
    which answers are right. `after` is cross-fitted: every second answer is judged with what the others were fitted to, so
    that the figure is not flattered by its own fit.
    """
    answers = [(np.asarray(logs, dtype=np.float64), int(truth)) for logs, truth in answers]
    halves = [(answers[at::2], answers[1 - at :: 2]) for at in (0, 1)]
    tried = {way: [_crossed(held_out, fit, way) for held_out, fit in halves if held_out] for way in (False, True)}
    parts = {
        way: (np.concatenate([sure for sure, _ in halves_]), np.concatenate([right for _, right in halves_]))
        for way, halves_ in tried.items()
        if halves_
    }
    better = mapped and bool(answers) and _log_loss(*parts[True]) < _log_loss(*parts[False])
    temperature = fit_temperature(answers)
    slope, offset = _fit_map(answers, temperature) if better else (1.0, 0.0)
    before = reliability(*judged(answers, 1.0), bins) if answers else []
    after = reliability(*parts[better], bins) if answers else []
    return {
        "temperature": temperature,
        "slope": slope,
        "offset": offset,
        "n": len(answers),
        "accuracy": float(judged(answers, 1.0)[1].mean()) if answers else None,
        "ece_before": expected_error(before) if answers else None,
        "ece_after": expected_error(after) if answers else None,
        "before": before,
        "after": after,
    }


def _crossed(held_out: Sequence[Answer], fit: Sequence[Answer], mapped: bool) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and rightness of `held_out` with what `fit` gives."""
    temperature = fit_temperature(fit)
    slope, offset = _fit_map(fit, temperature) if mapped else (1.0, 0.0)
    chances = [surely(softmax(logs, temperature), slope, offset) for logs, _ in held_out]
    right = [int(np.argmax(row)) == truth for row, (_, truth) in zip(chances, held_out, strict=True)]
    return np.array([row.max() for row in chances]), np.array(right, dtype=bool)


def _fit_map(answers: Sequence[Answer], temperature: float) -> tuple[float, float]:
    sure, right = judged(answers, temperature)
    line = fit_logistic(log_odds(sure), right)
    return line["slope"], line["offset"]


def _log_loss(sure: np.ndarray, right: np.ndarray) -> float:
    return float(-np.mean(np.log(np.clip(np.where(right, sure, 1 - sure), 1e-6, 1))))


def shifted(answers: Sequence[Answer], offset: float, clean: int = -1) -> list[Answer]:
    """The answers with `offset` added to the log-probability of the candidate `none` (see `gate.fit_clean`)."""
    moved = []
    for logs, truth in answers:
        logs = np.array(logs, dtype=np.float64)
        logs[clean] += offset
        moved.append((logs, truth))
    return moved


def fit_logistic(scores: Sequence[float] | np.ndarray, truths: Sequence[bool] | np.ndarray, bins: int = 10) -> Curve:
    """Slope and offset of P(true) = sigmoid(slope * score + offset) by likelihood (Platt 1999), with the ECE before
    and after, the latter cross-fitted. Truths of one kind only leave slope 1 and offset 0.
    """
    values, right = np.asarray(scores, dtype=np.float64), np.asarray(truths, dtype=bool)

    def chances(slope: float, offset: float, values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(slope * values + offset, -60, 60)))

    def solve(values: np.ndarray, right: np.ndarray) -> tuple[float, float]:
        from scipy.optimize import minimize

        if right.all() or not right.any():
            return 1.0, 0.0

        def loss(weights: np.ndarray) -> float:
            p = np.clip(chances(weights[0], weights[1], values), 1e-12, 1 - 1e-12)
            # a light pull to slope 1, offset 0, so that few or separable items give no extreme confidence
            return float(-np.sum(np.log(np.where(right, p, 1 - p))) + 0.1 * (weights[0] - 1) ** 2 + 0.01 * weights[1] ** 2)

        slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=((0.0, 10.0), (-10, 10))).x
        return round(float(slope), 4), round(float(offset), 4)

    slope, offset = solve(values, right)
    result: Curve = {
        "slope": slope,
        "offset": offset,
        "n": len(values),
        "ece_before": None,
        "ece_after": None,
        "before": [],
        "after": [],
    }
    if len(values):
        fitted = np.empty(len(values))
        for at in (0, 1):
            fitted[at::2] = chances(*solve(values[1 - at :: 2], right[1 - at :: 2]), values[at::2])
        result["before"] = reliability(chances(1.0, 0.0, values), right, bins)
        result["after"] = reliability(fitted, right, bins)
        result["ece_before"], result["ece_after"] = expected_error(result["before"]), expected_error(result["after"])
    return result

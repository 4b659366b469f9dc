"""The series behind the charts as small CSV files, for `dvc plots` and `dvc plots diff`; and their binning."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow.benchmark.items import MODEL
from iqaflow.benchmark.metrics.confidence import BINS, bin_of
from iqaflow.core.security.escaping import cell

if TYPE_CHECKING:
    import pandas as pd

PLAIN = ("single_nr", "clean_nr")  # the headline questions: one distortion or none, no reference


def write(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """`score.csv`, `reliability.csv` and `confusion.csv` of the model's items; equal items give equal bytes."""
    from iqaflow.core.files import write_text

    model = frame[frame["predictor"] == MODEL]
    plain = identified(model)
    tables: dict[str, tuple[Sequence[str], Iterable[Sequence[Any]]]] = {
        "score.csv": (("target", "predicted"), scored(model)),
        "reliability.csv": (("confidence", "accuracy", "count"), [row[:3] for row in reliability(plain)]),
        "confusion.csv": (("target", "prediction"), list(zip(plain["target"], plain["prediction"], strict=True))),
    }
    paths = []
    for name, (columns, rows) in tables.items():
        write_text(folder / name, _csv(columns, rows))
        paths.append(folder / name)
    return paths


def identified(frame: pd.DataFrame) -> pd.DataFrame:
    """The headline identify items of one predictor."""
    return frame[(frame["family"] == "identify") & frame["cell"].isin(PLAIN)]


def scored(frame: pd.DataFrame) -> list[tuple[float, float]]:
    """(true, predicted) scores of one predictor."""
    rows = frame[(frame["family"] == "score") & frame["value"].notna()]
    return [(round(a, 4), round(b, 4)) for a, b in zip(rows["target_value"], rows["value"], strict=True)]


def reliability(rows: pd.DataFrame) -> list[tuple[float, float, int, float, float]]:
    """(mean confidence, accuracy, count, low, high) of every bin that holds answers, with 95 % Wilson limits."""
    rows = rows[rows["confidence"].notna() & rows["value"].notna()]
    index = bin_of(rows["confidence"].to_numpy())
    result = []
    for number in range(BINS):
        confidence, value = rows["confidence"].to_numpy()[index == number], rows["value"].to_numpy()[index == number]
        if len(value):
            low, high = wilson(float(value.sum()), len(value))
            result.append((round(float(confidence.mean()), 4), round(float(value.mean()), 4), len(value), low, high))
    return result


def wilson(hits: float, count: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); sound also for few items and for 0 or all of them."""
    z = 1.959964
    middle = (hits + z * z / 2) / (count + z * z)
    spread = z / (count + z * z) * np.sqrt(max(hits * (count - hits) / count, 0.0) + z * z / 4)
    return max(0.0, float(middle - spread)), min(1.0, float(middle + spread))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean of values 0..1: Wilson for right and wrong, the normal one for shades between."""
    if np.isin(values, (0.0, 1.0)).all() or len(values) < 2:
        return wilson(float(values.sum()), len(values))
    middle, spread = float(values.mean()), 1.959964 * float(values.std(ddof=1)) / len(values) ** 0.5
    return max(0.0, middle - spread), min(1.0, middle + spread)


def confusion(rows: pd.DataFrame) -> tuple[list[str], list[str], list[list[int]]]:
    """Truth labels, answer labels (the truths, and `other` for anything else said) and counts."""
    labels = sorted(set(rows["target"]), key=lambda name: (name == "none", name))
    known = set(labels)
    answers = [name if name in known else "other" for name in rows["prediction"]]
    columns = labels + (["other"] if "other" in answers else [])
    counts = [[0] * len(columns) for _ in labels]
    for truth, answer in zip(rows["target"], answers, strict=True):
        counts[labels.index(truth)][columns.index(answer)] += 1
    return labels, columns, counts


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(value) for value in row] for row in rows)
    return buffer.getvalue()

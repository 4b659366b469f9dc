"""The reliability reached, bin by bin, as a table: `reports/calibrate/reliability.csv`."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from iqaflow.grounding.record import Calibration, Curve


def as_csv(curves: dict[str, Curve]) -> str:
    """One line per bin: `task,when,lo,hi,confidence,accuracy,n`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("task", "when", "lo", "hi", "confidence", "accuracy", "n"))
    for task, curve in curves.items():
        for when, bins in (("before", curve["before"]), ("after", curve["after"])):
            for row in bins:
                numbers = (f"{value:.6f}" for value in (row["lo"], row["hi"], row["confidence"], row["accuracy"]))
                table.writerow((task, when, *numbers, row["n"]))
    return text.getvalue()


def curves(path: Path, record: Calibration) -> dict[str, Curve]:
    """The table as `as_csv` was given it, with `n` and the errors that the calibration record keeps."""
    known = record["confidence"] | {"region": record["region"]}
    read: dict[str, Curve] = {task: {"before": [], "after": [], **fitted} for task, fitted in known.items()}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            curve = read[row["task"]]
            bins = {"before": curve["before"], "after": curve["after"]}[row["when"]]
            bins.append(
                {
                    "lo": float(row["lo"]),
                    "hi": float(row["hi"]),
                    "confidence": float(row["confidence"]),
                    "accuracy": float(row["accuracy"]),
                    "n": int(row["n"]),
                }
            )
    return read

"""The reliability reached, bin by bin, as a table: `reports/calibrate/reliability.csv`."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any


def as_csv(curves: dict[str, dict[str, Any]]) -> str:
    """One line per bin: `task,when,lo,hi,confidence,accuracy,n`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("task", "when", "lo", "hi", "confidence", "accuracy", "n"))
    for task, curve in curves.items():
        for when in ("before", "after"):
            for row in curve[when]:
                numbers = (f"{row[key]:.6f}" for key in ("lo", "hi", "confidence", "accuracy"))
                table.writerow((task, when, *numbers, row["n"]))
    return text.getvalue()


def curves(path: Path, record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The table as `as_csv` was given it, with `n` and the errors that the calibration record keeps."""
    known = record["confidence"] | {"region": record["region"]}
    read: dict[str, dict[str, Any]] = {task: {"before": [], "after": [], **known[task]} for task in known}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            numbers = {key: float(row[key]) for key in ("lo", "hi", "confidence", "accuracy")}
            read[row["task"]][row["when"]].append({**numbers, "n": int(row["n"])})
    return read

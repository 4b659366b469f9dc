"""Metrics of every step as JSON lines, and the curve that is the same in every run of the same inputs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from iqaflow.core.files import explain_full_disk


class StepLog:
    """Flushed at once: the stage follows the file, MLflow and the curve read it. A resumed run drops the lines after its
    checkpoint, so that each step is there once.
    """

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        kept = [row for row in rows(path) if row["step"] <= start]
        self.file = path.open("w", encoding="utf-8")
        for row in kept:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        with explain_full_disk(self.path):
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()

    def rows(self) -> list[dict[str, Any]]:
        return rows(self.path)


def rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a line cut short by a kill ends it, what follows is computed again."""
    if not path.is_file():
        return []
    whole = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            whole.append(json.loads(line))
        except ValueError:
            break
    return whole


def write_curve(path: Path, logged: list[dict[str, Any]]) -> None:
    """Loss and rate by step, only what is the same in every run of the same inputs."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "lr"])
        writer.writerows([row["step"], f"{row['loss']:.6f}", f"{row['lr']:.8g}"] for row in logged)

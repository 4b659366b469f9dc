"""The report's sections on what the model does well and badly: naming, scoring, pointing, worst mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iqaflow.benchmark import compare
from iqaflow.benchmark.items import MODEL
from iqaflow.distortions import categories
from iqaflow.draw.html import charts
from iqaflow.draw.html.charts import Mark
from iqaflow.report import figures, plots
from iqaflow.report.material import Material

if TYPE_CHECKING:
    import pandas as pd


Row = dict[str, Any]


def identify(material: Material) -> Row | None:
    """Accuracy by category and by level, confusion matrix."""
    plain = plots.identified(material.model)
    if plain.empty:
        return None
    rival = compare.rival(material.results, "identify", "accuracy_single_nr")
    other = plots.identified(material.frame[material.frame["predictor"] == rival])
    kinds = sorted(set(plain["target"]), key=lambda name: (name == "none", name))
    by_kind = [_bar(name, plain[plain["target"] == name], other[other["target"] == name], rival) for name in kinds]
    labels, columns, counts = plots.confusion(plain)
    return {
        "rival": rival,
        "categories": len(categories()),
        "by_kind": charts.interval_bars(by_kind, "by distortion"),
        "by_level": charts.interval_bars(_by_level(plain, other, rival), "by strength"),
        "matrix": charts.matrix(labels, counts, columns, "confusion matrix"),
        "confused": _confused(labels, columns, counts),
    }


def score(material: Material) -> Row:
    """Predicted against true scores, and the reliability of confidence."""
    points, bins = plots.scored(material.model), plots.reliability(plots.identified(material.model))
    return {
        "scatter": charts.scatter(points, "true score", "predicted score", "scores") if points else "",
        "reliability": charts.reliability(bins, "reliability diagram") if bins else "",
    }


def ground(material: Material) -> Row | None:
    """Pointing and masks by level, and overlays."""
    rows = _local(material.rows(MODEL, "ground"))
    if rows.empty:
        return None
    rival = compare.rival(material.results, "ground", "miou")
    other = _local(material.rows(rival, "ground"))
    drawn = [
        (title, charts.interval_bars(_by_level(rows, other, rival, column), title))
        for title, column in (("Point in the region, by strength", "hit"), ("Mask overlap (IoU), by strength", "value"))
        if rows[column].notna().any()
    ]
    return {"rival": rival, "charts": drawn, "overlays": figures.overlays(material.grounded, rows)}


def mistakes(material: Material) -> list[tuple[str, list[Row]]]:
    """The surest wrong names and the scores furthest off: title and figures each."""
    plain, scores = plots.identified(material.model), material.rows(MODEL, "score")
    order = {"ascending": [False, True], "kind": "stable"}
    wrong = plain[plain["value"] < 1].sort_values(["confidence", "item_id"], **order)
    off = scores.assign(error=(scores["value"] - scores["target_value"]).abs())
    off = off[off["error"] > 0].sort_values(["error", "item_id"], **order)
    groups = (
        (f"Surest wrong names ({len(wrong)} of {len(plain)} are wrong)", wrong.head(12)),
        ("Scores furthest from the truth", off.head(6)),
    )
    return [(title, figures.mistakes(rows.to_dict("records"), material.images)) for title, rows in groups if len(rows)]


def _local(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["cell"] != "whole"]


def _by_level(
    rows: pd.DataFrame, other: pd.DataFrame, rival: str | None, column: str = "value"
) -> list[tuple[str, int, Mark, Mark | None]]:
    return [
        _bar(
            "clean" if level == 0 else f"level {level:g}",
            rows[rows["level"] == level],
            other[other["level"] == level],
            rival,
            column,
        )
        for level in sorted(set(rows["level"]))
    ]


def _bar(
    name: str, rows: pd.DataFrame, other: pd.DataFrame, rival: str | None, column: str = "value"
) -> tuple[str, int, Mark, Mark | None]:
    values = rows[column].dropna()
    low, high = plots.mean_interval(values.to_numpy()) if len(values) else (0.0, 1.0)
    tick = Mark(rival, float(other[column].mean())) if rival and other[column].notna().any() else None
    return name, len(values), Mark("model", float(values.mean()) if len(values) else 0.0, low, high, "model"), tick


def _confused(labels: list[str], columns: list[str], counts: list[list[int]], most: int = 8) -> list[tuple[str, str, int, int]]:
    """(truth, answer, count, answers in all) of the commonest confusions."""
    pairs = [
        (-count / sum(row), truth, answer, count, sum(row))
        for truth, row in zip(labels, counts, strict=True)
        for answer, count in zip(columns, row, strict=True)
        if answer != truth and count
    ]
    return [pair[1:] for pair in sorted(pairs)[:most]]

"""The report's sections on what the model does well and badly: naming, scoring, pointing, worst mistakes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from iqaflow.benchmark import compare
from iqaflow.benchmark.items import MODEL
from iqaflow.draw.html import charts
from iqaflow.draw.html.charts import Mark
from iqaflow.report import figures, plots
from iqaflow.report.material import Material, section

if TYPE_CHECKING:
    import pandas as pd


def identify(material: Material) -> str:
    """Accuracy by category and by level, confusion matrix."""
    plain = plots.identified(material.model)
    if plain.empty:
        return ""
    rival = compare.rival(material.results, "identify", "accuracy_single_nr")
    other = plots.identified(material.frame[material.frame["predictor"] == rival])
    kinds = sorted(set(plain["target"]), key=lambda name: (name == "none", name))
    by_kind = [_bar(name, plain[plain["target"] == name], other[other["target"] == name], rival) for name in kinds]
    by_level = _by_level(plain, other, rival)
    labels, columns, counts = plots.confusion(plain)
    tick = f" The diamond is {escape(rival)}." if rival else ""
    return section(
        "What it calls each distortion",
        "One distortion or none in the whole image, no reference: 12 categories and \u201cnone\u201d. Levels run from "
        f"1 (slight) to 5 (catastrophic).{tick}",
        '<div class="columns">',
        f'<div><h3>Right answers by distortion</h3>{charts.bars(by_kind, "by distortion")}</div>',
        f'<div><h3>Right answers by strength</h3>{charts.bars(by_level, "by strength")}</div></div>',
        "<h3>Confusions, per cent of each row</h3>",
        f'<div class="wide"><div>{charts.matrix(labels, counts, columns, "confusion matrix")}</div>',
        f'<div class="side"><h3>Commonest confusions</h3><ul>{_confused(labels, columns, counts)}</ul></div></div>',
    )


def score(material: Material) -> str:
    """Predicted against true scores, and the reliability of confidence."""
    parts = []
    points, bins = plots.scored(material.model), plots.reliability(plots.identified(material.model))
    if points:
        parts.append(
            f"<div><h3>Quality score</h3>{charts.scatter(points, 'true score', 'predicted score', 'scores')}"
            '<p class="quiet">Each dot is an image; on the dashed line the model is exactly right.</p></div>'
        )
    if bins:
        parts.append(
            f"<div><h3>Confidence when naming a distortion</h3>{charts.reliability(bins, 'reliability diagram')}"
            '<p class="quiet">On the dashed line confidence means what it says; below it the model is too sure. '
            "Larger discs hold more answers.</p></div>"
        )
    if not parts:
        return ""
    lead = "The score is the expectation over five rating words, confidence the calibrated probability of the answer."
    return section("How good, and how sure", lead, f'<div class="columns">{"".join(parts)}</div>')


def ground(material: Material) -> str:
    """Pointing and masks by level, and overlays."""
    rows = _local(material.rows(MODEL, "ground"))
    if rows.empty:
        return ""
    rival = compare.rival(material.results, "ground", "miou")
    other = _local(material.rows(rival, "ground"))
    parts = []
    for title, column in (("Point in the region, by strength", "hit"), ("Mask overlap (IoU), by strength", "value")):
        if rows[column].notna().any():
            parts.append(f"<div><h3>{title}</h3>{charts.bars(_by_level(rows, other, rival, column), title)}</div>")
    gallery = figures.overlays(material.grounded, rows)
    if gallery:
        legend = charts.legend(
            ('<rect x="2" y="2" width="16" height="12" fill="none" stroke="#d9ad00" stroke-width="2"/>', "true region"),
            ('<rect x="2" y="2" width="16" height="12" fill="#0072b2" fill-opacity=".4" stroke="#4aa3df" '
             'stroke-dasharray="3 2"/>', "the model's mask"),
            ('<circle cx="10" cy="8" r="4" fill="#d55e00" stroke="#fff"/>', "the model's point"),
        )
        gallery = ("<h3>Answers, evenly from the best mask to the worst</h3>"
                   f'{legend}<div class="gallery">{gallery}</div>')
    tick = f" The diamond is {escape(rival)}." if rival else ""
    return section("Where it is", f"The worst or best region, overall or in one distortion, or the one of a given order.{tick}",
                   f'<div class="columns">{"".join(parts)}</div>', gallery)


def mistakes(material: Material) -> str:
    """The surest wrong names and the scores furthest off."""
    plain, scores = plots.identified(material.model), material.rows(MODEL, "score")
    order = {"ascending": [False, True], "kind": "stable"}
    wrong = plain[plain["value"] < 1].sort_values(["confidence", "item_id"], **order)
    off = scores.assign(error=(scores["value"] - scores["target_value"]).abs())
    off = off[off["error"] > 0].sort_values(["error", "item_id"], **order)
    parts = []
    for title, rows in ((f"Surest wrong names ({len(wrong)} of {len(plain)} are wrong)", wrong.head(12)),
                        ("Scores furthest from the truth", off.head(6))):
        if len(rows):
            shown = figures.mistakes(rows.to_dict("records"), material.images)
            parts.append(f'<h3>{title}</h3><div class="gallery">{shown}</div>')
    return section("Its worst mistakes", "What to look at before trusting it.", *parts) if parts else ""


def _local(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["cell"] != "whole"]


def _by_level(rows: pd.DataFrame, other: pd.DataFrame, rival: str | None,
              column: str = "value") -> list[tuple[str, int, Mark, Mark | None]]:
    return [_bar("clean" if level == 0 else f"level {level:g}", rows[rows["level"] == level],
                 other[other["level"] == level], rival, column) for level in sorted(set(rows["level"]))]


def _bar(name: str, rows: pd.DataFrame, other: pd.DataFrame, rival: str | None,
         column: str = "value") -> tuple[str, int, Mark, Mark | None]:
    values = rows[column].dropna()
    low, high = plots.mean_interval(values.to_numpy()) if len(values) else (0.0, 1.0)
    tick = Mark(rival, float(other[column].mean())) if rival and other[column].notna().any() else None
    return name, len(values), Mark("model", float(values.mean()) if len(values) else 0.0, low, high, "model"), tick


def _confused(labels: list[str], columns: list[str], counts: list[list[int]], most: int = 8) -> str:
    pairs = [(-count / sum(row), truth, said, count, sum(row)) for truth, row in zip(labels, counts, strict=True)
             for said, count in zip(columns, row, strict=True) if said != truth and count]
    return "".join(f"<li>{escape(truth)} called <b>{escape(said)}</b>: {count} of {total}</li>"
                   for _, truth, said, count, total in sorted(pairs)[:most]) or "<li>no confusion</li>"

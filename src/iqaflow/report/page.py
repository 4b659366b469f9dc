"""`reports/report.html`: the benchmark as one page that needs nothing but a browser.

The page is a function of the items, the images and the metrics: no dates, hosts or run ids, so equal inputs give equal
bytes. What it says is decided here; how it looks, in `draw/html/templates/report.html`.
"""

from __future__ import annotations

from typing import Any

from iqaflow.benchmark import compare
from iqaflow.benchmark.compare import ABOVE, BELOW, LEVEL, Comparison
from iqaflow.benchmark.metrics import Entry
from iqaflow.draw.html import charts, render
from iqaflow.draw.html.charts import Mark
from iqaflow.draw.html.text import share
from iqaflow.report.material import Material

Row = dict[str, Any]
TILES = {
    "identify.accuracy_single_nr": "names the distortion",
    "score.srcc": "ranks quality (SRCC)",
    "ground.hit_rate": "points into the region",
    "ground.miou": "mask overlap (mIoU)",
    "rate.accuracy": "picks the better image",
    "identify.false_alarm_nr": "false alarms",
}
SENTENCE = {
    "identify.accuracy_single_nr": ("names the distortion of ", ""),
    "score.srcc": ("ranks quality with a correlation of ", ""),
    "ground.hit_rate": ("points into the right region ", " of the time"),
}
VERDICTS = {ABOVE: ("better", "\u25b2"), BELOW: ("worse", "\u25bc"), LEVEL: ("level", "\u25cf")}


def page(material: Material) -> str:
    """The whole HTML page."""
    from iqaflow.report import facts, sections

    by_key = {comparison.key: comparison for comparison in material.comparisons}
    return render(
        "report.html",
        tested=material.results["items"],
        headline=headline(by_key),
        tiles_shown=tiles(by_key),
        comparisons=[row(comparison) for comparison in material.comparisons],
        identify=sections.identify(material),
        score=sections.score(material),
        ground=sections.ground(material),
        mistakes=sections.mistakes(material),
        metrics=facts.metrics_of_all(material.results),
        questions=facts.questions(material.model),
        resamples=material.config.benchmark.bootstrap,
    )


def headline(by_key: dict[str, Comparison]) -> list[tuple[str, str, str, str]]:
    """How the model did beside the best baselines: words, value, words, baseline each."""
    return [
        (before, _figure(by_key[key], by_key[key].model["value"]), after, _rival(by_key[key]))
        for key, (before, after) in SENTENCE.items()
        if key in by_key
    ]


def tiles(by_key: dict[str, Comparison]) -> list[tuple[str, str, list[str]]]:
    """The six figures people ask for: name, value, interval and baseline."""
    shown = []
    for key, name in TILES.items():
        if key in by_key:
            comparison = by_key[key]
            limits = comparison.model["ci95"]
            interval = [f"95 %: {_figure(comparison, limits[0])} to {_figure(comparison, limits[1])}"] if limits else []
            notes = [*interval, _rival(comparison) or "no baseline"]
            shown.append((name, _figure(comparison, comparison.model["value"]), notes))
    return shown


def row(comparison: Comparison) -> Row:
    """One headline metric: value, interval, strip with all baselines, verdict."""
    top, limits, verdict = comparison.metric.maximum, comparison.model["ci95"], comparison.verdict or ""
    css, arrow = VERDICTS.get(verdict, ("", ""))
    return {
        "title": comparison.metric.title,
        "key": comparison.key,
        "lower": comparison.metric.lower_is_better,
        "value": compare.shown(comparison.model["value"], top),
        "interval": " \u2013 ".join(compare.shown(limit, top) for limit in limits or ()),
        "chart": charts.strip(_marks(comparison), top, comparison.key),
        "verdict": verdict,
        "css": css,
        "arrow": arrow,
        "rival": (comparison.rival or "") if comparison.baseline else None,
        "rival_value": compare.shown(comparison.baseline["value"], top) if comparison.baseline else "",
        "count": f"{comparison.model['n']:,}",
    }


def _figure(comparison: Comparison, value: float) -> str:
    """Shares in per cent, correlations and overlaps as numbers."""
    return f"{value:.2f}" if comparison.metric.name in ("srcc", "plcc", "miou") else share(value)


def _rival(comparison: Comparison) -> str:
    return f"{comparison.rival or ''}: {_figure(comparison, comparison.baseline['value'])}" if comparison.baseline else ""


def _marks(comparison: Comparison) -> list[Mark]:
    seeing = compare.yardsticks()
    marks = [_mark("model", comparison.model, "model")]
    for name, entry in sorted(comparison.others.items()):
        marks.append(_mark(name, entry, "base" if name == comparison.rival else "yard" if name in seeing else "other"))
    return marks


def _mark(name: str, entry: Entry, kind: str) -> Mark:
    low, high = entry["ci95"] or (None, None)
    return Mark(name, entry["value"], low, high, kind)

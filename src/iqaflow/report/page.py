"""`reports/report.html`: the benchmark as one page that needs nothing but a browser.

The page is a function of the items, the images and the metrics: no dates, hosts or run ids, so equal inputs give equal
bytes. Every text that comes from data is escaped, and the page may load nothing.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from iqaflow.benchmark import compare
from iqaflow.benchmark.compare import ABOVE, BELOW, LEVEL, Comparison
from iqaflow.draw.html import charts
from iqaflow.draw.html.charts import Mark
from iqaflow.draw.html.style import CSS
from iqaflow.report.material import Material, section

if TYPE_CHECKING:
    pass

Row = dict[str, Any]
TILES = {
    "identify.accuracy_single_nr": "names the distortion", "score.srcc": "ranks quality (SRCC)",
    "ground.hit_rate": "points into the region", "ground.miou": "mask overlap (mIoU)",
    "rate.accuracy": "picks the better image", "identify.false_alarm_nr": "false alarms",
}
SENTENCE = {
    "identify.accuracy_single_nr": "names the distortion of {}", "score.srcc": "ranks quality with a correlation of {}",
    "ground.hit_rate": "points into the right region {} of the time",
}
VERDICTS = {ABOVE: ("better", "\u25b2"), BELOW: ("worse", "\u25bc"), LEVEL: ("level", "\u25cf")}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
HEAD = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>Benchmark: image quality model</title><style>{CSS}</style></head>
<body><main>
"""


def page(material: Material) -> str:
    """The whole HTML page."""
    from iqaflow.report import explain, sections

    parts = [
        head(material), table(material.comparisons), sections.identify(material), sections.score(material),
        sections.ground(material), sections.mistakes(material), explain.everything(material.results),
        explain.reading(material.config), explain.data(material.results, material.model),
        explain.limits(material.results),
    ]
    return HEAD + "\n".join(part for part in parts if part) + "\n</main></body></html>\n"


def head(material: Material) -> str:
    """Title, the one sentence that sums up, and the six figures people ask for."""
    by_key = {one.key: one for one in material.comparisons}
    tiles = []
    for key, name in TILES.items():
        if key not in by_key:
            continue
        one = by_key[key]
        limits = one.model["ci95"]
        interval = f"95 %: {_said(one, limits[0])} to {_said(one, limits[1])}" if limits else ""
        rival = f"{escape(one.rival or '')}: {_said(one, one.baseline['value'])}" if one.baseline else "no baseline"
        tiles.append(f'<div class="tile"><div class="name">{escape(name)}</div><div class="value">'
                     f'{_said(one, one.model["value"])}</div><div class="note">{interval}<br>{rival}</div></div>')
    return ("<h1>Benchmark of an explainable image quality model</h1>\n"
            f'<p class="lead">{headline(material)}</p>\n<div class="tiles">{"".join(tiles)}</div>')


def headline(material: Material) -> str:
    """One sentence (HTML): what was tested and how the model did beside the best baselines."""
    by_key = {one.key: one for one in material.comparisons}
    phrases = []
    for key, text in SENTENCE.items():
        if key in by_key:
            one = by_key[key]
            rival = ""
            if one.baseline:
                rival = f" <span>({escape(one.rival or '')}: {_said(one, one.baseline['value'])})</span>"
            phrases.append(text.format(f"<b>{_said(one, one.model['value'])}</b>") + rival)
    joined = " and ".join(part for part in (", ".join(phrases[:-1]), phrases[-1]) if part) if phrases else "was run"
    tested = material.results["items"]
    photographs = f"{tested['photographs']} photograph{'s' if tested['photographs'] != 1 else ''}"
    return f"On {tested['images']:,} views of {photographs} it never saw, the model {joined}."


def table(comparisons: list[Comparison]) -> str:
    """Headline metrics, one row each: value, interval, strip with all baselines, verdict."""
    lines = []
    for one in comparisons:
        top, limits = one.metric.maximum, one.model["ci95"]
        interval = f"{compare.shown(limits[0], top)} \u2013 {compare.shown(limits[1], top)}" if limits else ""
        rival = '<span class="quiet">none</span>'
        if one.baseline:
            rival = f'{compare.shown(one.baseline["value"], top)} <span class="quiet">{escape(one.rival or "")}</span>'
        css, arrow = VERDICTS.get(one.verdict or "", ("", ""))
        lower = ' <span class="quiet">(lower is better)</span>' if one.metric.lower_is_better else ""
        lines.append(
            f'<tr><td>{escape(one.metric.title)}{lower}<br><code class="quiet">{one.key}</code></td>'
            f'<td class="n big">{compare.shown(one.model["value"], top)}</td><td class="n quiet">{interval}</td>'
            f'<td>{charts.strip(_marks(one), top, one.key)}</td><td class="rival">{rival}</td>'
            f'<td class="{css}">{arrow} {one.verdict or ""}</td><td class="n quiet">{one.model["n"]:,}</td></tr>'
        )
    legend = charts.legend(
        ('<circle cx="10" cy="8" r="5.5" class="model"/>', "model"),
        ('<path d="M10 2l6 6l-6 6l-6 -6z" class="base"/>', "best baseline"),
        ('<circle cx="10" cy="8" r="3.5" class="other"/>', "other baselines"),
        ('<path d="M10 3l5 9h-10z" class="yard"/>', "sees the undistorted image"),
        ('<line x1="3" x2="17" y1="8" y2="8" class="span model"/>', "95 % interval"),
    )
    names = ("the model \u2026", "value", "95 % interval", "from 0 to the most possible", "best baseline", "model is",
             "items")
    numeric = {"value", "95 % interval", "items"}
    top_row = "".join(f'<th class="n">{name}</th>' if name in numeric else f"<th>{name}</th>" for name in names)
    return section(
        "Model and baselines on the same items",
        "Baselines answer the same questions without this model. Hover a mark for its value; all numbers are below.",
        legend, f'<div class="scroll"><table><tr>{top_row}</tr>{"".join(lines)}</table></div>',
    )


def _said(one: Comparison, value: float) -> str:
    """Shares in per cent, correlations and overlaps as numbers."""
    return f"{value:.2f}" if one.metric.name in ("srcc", "plcc", "miou") else charts.share(value)


def _marks(one: Comparison) -> list[Mark]:
    seeing = compare.yardsticks()
    marks = [_mark("model", one.model, "model")]
    for name, entry in sorted(one.others.items()):
        marks.append(_mark(name, entry, "base" if name == one.rival else "yard" if name in seeing else "other"))
    return marks


def _mark(name: str, entry: Row, kind: str) -> Mark:
    low, high = entry["ci95"] or (None, None)
    return Mark(name, entry["value"], low, high, kind)

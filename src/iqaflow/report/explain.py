"""The report's text: all numbers, how to read them, what was tested and what the test cannot tell."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from iqaflow.benchmark import baselines, metrics
from iqaflow.benchmark.compare import shown
from iqaflow.core.config import Config

if TYPE_CHECKING:
    import pandas as pd

OTHERS = {"argmax_words": "the same model's likeliest position words: that quarter of the image, and its middle"}
READING = """<section><h2>How to read this</h2><ul>
<li><b>Intervals</b> are 95 % percentile intervals of {resamples:,} bootstrap resamples of the items. The full table
also has intervals over photographs. Items of one photograph resemble each other, so these are the ones to trust for
other photographs, but they need many photographs to be reliable themselves.</li>
<li><b>Better or worse</b> is said only if the paired difference on the same items, resampled together, keeps its sign
over its whole 95 % interval. Some fifteen comparisons are made: expect a chance finding now and then.</li>
<li><b>Naming two distortions</b> earns full credit for both and nothing else, otherwise hits divided by the longer
list. <b>SRCC</b> is rank correlation, <b>PLCC</b> plain linear correlation without a fitted curve.</li>
<li><b>Pointing</b> counts points inside the true region, <b>mIoU</b> is the mean overlap of masks; questions whose
answer is the whole image are left out of both.</li>
<li><b>ECE</b> is how far confidence is from the share of right answers, over ten bins; few items push it up.</li>
</ul></section>"""
LIMITS = """<section><h2>What this cannot tell</h2><ul>{few}
<li>The distortions are synthetic. Real faults (focus, motion, sensors, several at once) look different, and no result
here is on real ones.</li>
<li>The true score is a full-reference metric, not people's opinion: a high correlation says that the model follows that
metric.</li>
<li>The regions are segments with sharp borders; real distortions fade out.</li>
<li>psnr and ssim see the undistorted image. The model, asked without a reference, does not.</li>
</ul></section>"""


def everything(results: dict[str, Any]) -> str:
    """Every metric of every predictor, folded away."""
    tables = {"model": results["model"], **results["baselines"]}
    lines = []
    for (family, name), entry in metrics.known().items():
        if any(name in table.get(family, {}) for table in tables.values()):
            cells = "".join(_cell(table.get(family, {}).get(name), entry.maximum) for table in tables.values())
            lines.append(f"<tr><td><code>{family}.{name}</code></td>{cells}</tr>")
    top_row = "".join(f'<th class="n">{escape(name)}</th>' for name in tables)
    known = {name: entry.about for name, entry in baselines.known().items()} | OTHERS
    about = "".join(f"<li><b>{escape(name)}</b>: {escape(known.get(name, 'another predictor'))}</li>"
                    for name in results["baselines"])
    return (
        "<section><details><summary>All metrics of all predictors</summary>"
        '<p class="quiet">Hover a value for its intervals and number of items. The same numbers are in '
        "<code>metrics.json</code>, item by item in <code>items.parquet</code>.</p>"
        f'<div class="scroll"><table><tr><th>metric</th>{top_row}</tr>{"".join(lines)}</table></div>'
        f"<h3>The baselines</h3><ul>{about}</ul></details></section>"
    )


def _cell(value: dict[str, Any] | None, maximum: float) -> str:
    if value is None:
        return '<td class="n quiet">\u2013</td>'
    tips = [f"n={value['n']}"]
    for key, words in (("ci95", "95 % over items"), ("ci95_photos", "over photographs")):
        if value[key]:
            low, high = (shown(limit, maximum) for limit in value[key])
            tips.append(f"{words}: {low} to {high}")
    return f'<td class="n" title="{escape("; ".join(tips))}">{shown(value["value"], maximum)}</td>'


def reading(config: Config) -> str:
    """How to read the page."""
    return READING.format(resamples=config.benchmark.bootstrap)


def data(results: dict[str, Any], model: pd.DataFrame) -> str:
    """What was tested: images, photographs, questions, and the hashes that name the test set."""
    tested = results["items"]
    rows = "".join(
        f'<tr><td>{escape(str(family))}</td><td>{escape(str(cell))}</td><td class="n">{len(part):,}</td>'
        f'<td class="n">{part["source_id"].nunique()}</td></tr>'
        for (family, cell), part in model.groupby(["family", "cell"], sort=False)
    )
    left_out = (f" {tested['left_out']:,} questions name categories that the model was never taught: nobody was asked them."
                if "left_out" in tested else "")
    sources = escape(", ".join(tested["score_sources"]) or "none")
    return (
        f"<section><h2>What was tested</h2><p>{tested['images']:,} images from {tested['photographs']} photographs of "
        "the test split; training and calibration saw none of these photographs. True scores come from "
        f"<code>{sources}</code>.{left_out}</p>"
        f'<p class="quiet">Data set <code>{tested["dataset_sha256"][:16]}</code>, test set '
        f'<code>{tested["test_sha256"][:16]}</code> (SHA-256, first 16 digits). Two reports compare only if their test '
        'sets are the same.</p><details><summary>Questions by kind</summary><div class="scroll"><table><tr>'
        '<th>family</th><th>cell</th><th class="n">items</th><th class="n">photographs</th></tr>'
        f"{rows}</table></div></details></section>"
    )


def limits(results: dict[str, Any]) -> str:
    """What no number on the page says."""
    photographs = results["items"]["photographs"]
    few = ""
    if photographs < 30:
        lie = "photograph lies" if photographs == 1 else "photographs lie"
        few = (f"<li>Only <b>{photographs}</b> {lie} behind all items: how the model does on other content is known "
               "only roughly.</li>")
    return LIMITS.format(few=few)

"""All numbers of the report and what was tested, as rows of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iqaflow.benchmark import baselines, metrics
from iqaflow.benchmark.compare import shown
from iqaflow.benchmark.metrics import Entry
from iqaflow.benchmark.results import Results

if TYPE_CHECKING:
    import pandas as pd

OTHERS = {"argmax_words": "the same model's likeliest position words: that quarter of the image, and its middle"}


def metrics_of_all(results: Results) -> dict[str, Any]:
    """Every metric of every predictor: names of the predictors, rows of (value, tip), what each baseline is."""
    tables = {"model": results["model"], **results["baselines"]}
    rows = [
        (f"{family}.{name}", [_cell(table.get(family, {}).get(name), entry.maximum) for table in tables.values()])
        for (family, name), entry in metrics.known().items()
        if any(name in table.get(family, {}) for table in tables.values())
    ]
    known = {name: entry.about for name, entry in baselines.known().items()} | OTHERS
    about = [(name, known.get(name, "another predictor")) for name in results["baselines"]]
    return {"predictors": list(tables), "rows": rows, "baselines": about}


def _cell(value: Entry | None, maximum: float) -> tuple[str | None, str]:
    if value is None:
        return None, ""
    tips = [f"n={value['n']}"]
    for interval, words in ((value["ci95"], "95 % over items"), (value["ci95_photos"], "over photographs")):
        if interval:
            low, high = (shown(limit, maximum) for limit in interval)
            tips.append(f"{words}: {low} to {high}")
    return shown(value["value"], maximum), "; ".join(tips)


def questions(model: pd.DataFrame) -> list[tuple[str, str, int, int]]:
    """Family, cell, number of items and of photographs."""
    return [
        (str(family), str(cell), len(part), part["source_id"].nunique())
        for (family, cell), part in model.groupby(["family", "cell"], sort=False)
    ]

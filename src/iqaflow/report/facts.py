"""All numbers of the report and what was tested, as rows of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iqaflow.benchmark import baselines, metrics
from iqaflow.benchmark.compare import shown

if TYPE_CHECKING:
    import pandas as pd

OTHERS = {"argmax_words": "the same model's likeliest position words: that quarter of the image, and its middle"}


def metrics_of_all(results: dict[str, Any]) -> dict[str, Any]:
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


def _cell(value: dict[str, Any] | None, maximum: float) -> tuple[str | None, str]:
    if value is None:
        return None, ""
    tips = [f"n={value['n']}"]
    for key, words in (("ci95", "95 % over items"), ("ci95_photos", "over photographs")):
        if value[key]:
            low, high = (shown(limit, maximum) for limit in value[key])
            tips.append(f"{words}: {low} to {high}")
    return shown(value["value"], maximum), "; ".join(tips)


def questions(model: pd.DataFrame) -> list[tuple[str, str, int, int]]:
    """Family, cell, number of items and of photographs."""
    return [
        (str(family), str(cell), len(part), part["source_id"].nunique())
        for (family, cell), part in model.groupby(["family", "cell"], sort=False)
    ]

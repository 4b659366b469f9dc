"""The model against the baselines: which rival counts for a metric, and whether the difference is more than noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from iqaflow import tasks
from iqaflow.benchmark import metrics, stats
from iqaflow.benchmark.items import MODEL
from iqaflow.benchmark.metrics import Entry
from iqaflow.benchmark.results import Results
from iqaflow.core.config import Config

if TYPE_CHECKING:
    import pandas as pd

ABOVE, LEVEL, BELOW = "better", "no clear difference", "worse"


@dataclass(frozen=True)
class Comparison:
    """One metric: the model's entry `{value, ci95, ci95_photos, n}`, the rival's, and the verdict of the paired
    bootstrap on the items both answered (None without a rival).
    """

    metric: metrics.Metric
    model: Entry
    rival: str | None
    baseline: Entry | None
    others: dict[str, Entry]
    verdict: str | None

    @property
    def key(self) -> str:
        return f"{self.metric.family}.{self.metric.name}"


class Difference(TypedDict):
    """How much better one predictor is than another on the `n` items that count for both; None where it is undefined."""

    difference: float | None
    ci95: list[float] | None
    n: int


def yardsticks() -> set[str]:
    """Baselines that see the undistorted image: shown, but no rivals of a model that does not."""
    from iqaflow.benchmark import baselines

    return {name for name, entry in baselines.known().items() if entry.sees_reference}


def rival(results: Results, family: str, name: str) -> str | None:
    """The strongest baseline in a metric that sees no more than the model does."""
    entry = metrics.find(family, name)
    # where lower is better another metric names the rival: a guess of `none` raises no false alarm, and means nothing
    by = tasks.find(family).headline if entry.lower_is_better else name
    values = {
        baseline: table[family][by]["value"]
        for baseline, table in results["baselines"].items()
        if by in table.get(family, {}) and name in table[family] and baseline not in yardsticks()
    }
    return max(sorted(values), key=lambda baseline: values[baseline]) if values else None


def compare(results: Results, frame: pd.DataFrame, config: Config) -> list[Comparison]:
    """The headline metrics the model has, with their rivals."""
    comparisons = []
    for family, name in metrics.headlines():
        if name not in results["model"].get(family, {}):
            continue
        best, verdict = rival(results, family, name), None
        others = {
            baseline: table[family][name] for baseline, table in results["baselines"].items() if name in table.get(family, {})
        }
        if best:
            rows = frame[frame["family"] == family]
            gap = paired_difference(
                rows[rows["predictor"] == MODEL], rows[rows["predictor"] == best], name, config.benchmark.bootstrap, config.seed
            )
            low, high = gap["ci95"] or (0.0, 0.0)
            verdict = ABOVE if low > 0 else BELOW if high < 0 else LEVEL
        comparisons.append(
            Comparison(
                metrics.find(family, name),
                results["model"][family][name],
                best,
                others.get(best) if best else None,
                others,
                verdict,
            )
        )
    return comparisons


def shown(value: float, maximum: float) -> str:
    """A metric as people write it: three decimals, one for values up to 100."""
    return f"{value:.3f}" if maximum == 1 else f"{value:.1f}"


def markdown(comparisons: list[Comparison]) -> str:
    """The headline table for a terminal, Prefect and MLflow."""
    lines = ["| metric | model | 95 % interval | n | best baseline | |", "|---|---|---|---|---|---|"]
    for comparison in comparisons:
        top, model = comparison.metric.maximum, comparison.model
        limits = model["ci95"]
        interval = f"{shown(limits[0], top)} to {shown(limits[1], top)}" if limits else ""
        best = f"{shown(comparison.baseline['value'], top)} ({comparison.rival})" if comparison.baseline else ""
        lines.append(
            f"| {comparison.key} | **{shown(model['value'], top)}** | {interval} | {model['n']} | {best} | "
            f"{comparison.verdict or ''} |"
        )
    return "\n".join(lines) + "\n"


def paired_difference(new: pd.DataFrame, old: pd.DataFrame, metric: str, resamples: int, seed: int) -> Difference:
    """How much better `new` is than `old` (item rows of one predictor and one family each) on the items both
    answered, both resampled together: `{difference, ci95, n}`. Positive is better, also where a lower value is.
    """
    shared = sorted(set(new["item_id"]) & set(old["item_id"]))
    if not shared:
        return {"difference": None, "ci95": None, "n": 0}
    known = metrics.find(new["family"].iloc[0], metric)
    both = [known.columns(table.set_index("item_id").loc[shared].reset_index()) for table in (new, old)]
    usable = np.isfinite(both[0]).all(1) & np.isfinite(both[1]).all(1)
    if not usable.any():
        return {"difference": None, "ci95": None, "n": 0}
    sign = -1.0 if known.lower_is_better else 1.0
    point = [known.reduce(columns[usable], np.ones((1, int(usable.sum()))))[0] for columns in both]
    samples = [stats.values(known.reduce, columns[usable], resamples, seed) for columns in both]  # same seed: same draws
    limits = stats.interval(sign * (samples[0] - samples[1]))
    difference = sign * (point[0] - point[1])
    return {
        "difference": round(float(difference), 6) if np.isfinite(difference) else None,
        "ci95": [round(limit, 6) for limit in limits] if limits else None,
        "n": int(usable.sum()),
    }

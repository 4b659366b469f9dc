"""Is one model better than another? The same items, both resampled together (paired bootstrap of `benchmark.stats`).

    against(new_items, old_items, "score.srcc", resamples=1000, seed=0).better    # lower 95 % bound > 0

A difference is positive where the new model is better, also for metrics of which less is better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iqaflow.core.config import Config
from iqaflow.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """`new` and `old`: the values on the shared items, NaN where undefined. `ci95` is of `difference`."""

    metric: str
    rival: str
    new: float
    old: float
    difference: float | None
    ci95: tuple[float, float] | None
    n: int

    @property
    def better(self) -> bool:
        return self.ci95 is not None and self.ci95[0] > 0

    @property
    def worse(self) -> bool:
        """Worse beyond noise; or the rival could be measured and this one could not."""
        if self.ci95 is None:
            return math.isfinite(self.old) and not math.isfinite(self.new)
        return self.ci95[1] < 0

    @property
    def finding(self) -> str:
        return "better" if self.better else "worse" if self.worse else "no difference" if self.ci95 else "not measured"


def check(config: Config) -> None:
    """ConfigError if the gate's metrics do not exist."""
    from iqaflow.benchmark import metrics

    for metric in (config.benchmark.primary, *config.benchmark.guarded):
        try:
            metrics.find(*split(metric))
        except ValueError as error:
            raise ConfigError(f"Bad parameters in benchmark.primary or benchmark.guarded: {error}.") from None


def split(metric: str) -> tuple[str, str]:
    """`family.metric` in two."""
    family, _, name = metric.partition(".")
    return family, name


def against(new: pd.DataFrame, old: pd.DataFrame, metric: str, resamples: int, seed: int, rival: str = "champion") -> Comparison:
    """Compare two predictors' item rows on the items of the metric's family that both answered."""
    from iqaflow.benchmark.compare import paired_difference

    family, name = split(metric)
    new, old = new[new["family"] == family], old[old["family"] == family]
    shared = set(new["item_id"]) & set(old["item_id"])
    new_value, old_value = _value(new, name, shared), _value(old, name, shared)
    if not shared:
        return Comparison(metric, rival, new_value, old_value, None, None, 0)
    gap = paired_difference(new, old, name, resamples, seed)
    limits = (gap["ci95"][0], gap["ci95"][1]) if gap["ci95"] else None
    return Comparison(metric, rival, new_value, old_value, gap["difference"], limits, gap["n"])


def hardest_baseline(items: pd.DataFrame, model: str, metric: str, resamples: int, seed: int) -> Comparison | None:
    """The model against the baseline closest to it, or furthest above it; None if no baseline has the metric.

    Baselines that see the undistorted image while the model does not are no rivals.
    """
    from iqaflow.benchmark.compare import yardsticks

    mine = items[items["predictor"] == model]
    rivals = sorted(set(items.loc[items["family"] == split(metric)[0], "predictor"]) - {model} - yardsticks())
    comparisons = [against(mine, items[items["predictor"] == rival], metric, resamples, seed, rival) for rival in rivals]
    measured = [(each.difference, each) for each in comparisons if each.difference is not None]
    return min(measured, key=lambda pair: pair[0])[1] if measured else None


def _value(frame: pd.DataFrame, name: str, shared: set[str]) -> float:
    from iqaflow.benchmark import metrics

    rows = frame[frame["item_id"].isin(shared)] if shared else frame
    return metrics.compute(rows, name) if len(rows) else math.nan

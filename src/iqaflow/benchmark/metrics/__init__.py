"""Metrics by family and name. A metric is one decorated function in a module beside this one; nothing else changes.

    compute(items of one predictor and family, "srcc") -> float
    table(items of one predictor, config) -> {family: {metric: {value, ci95, ci95_photos, n}}}

The function maps item rows to columns (n, k), NaN where a row does not count. `reduce` turns columns and weights (how
often each row was drawn) into the value, so that point values and bootstrap intervals share one definition.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np

from iqaflow import tasks
from iqaflow.benchmark import stats
from iqaflow.core.config import Config
from iqaflow.core.plugins import KINDS

T = TypeVar("T", bound=Callable[..., Any])

if TYPE_CHECKING:
    import pandas as pd

_registered: dict[tuple[str, str], Metric] = {}


class Entry(TypedDict):
    """A metric's value on `n` items. `ci95`: 95 % interval [low, high] over items, `ci95_photos` over photographs; None where the
    value is undefined on most resamples.
    """

    value: float
    ci95: list[float] | None
    ci95_photos: list[float] | None
    n: int


Table = dict[str, dict[str, Entry]]  # of one predictor, by family and metric


@dataclass(frozen=True)
class Metric:
    """One metric of one family. `title` completes the sentence `the model ...`; `cells` limits the items it counts; `headline` is
    its place among those a reader looks at first, if it is one.
    """

    family: str
    name: str
    title: str
    cells: tuple[str, ...] | None
    lower_is_better: bool
    maximum: float
    reduce: stats.Reduce
    function: Callable[[pd.DataFrame], np.ndarray]
    headline: int | None = None

    def columns(self, frame: pd.DataFrame) -> np.ndarray:
        """(n, k) floats for the rows of `frame`; NaN rows do not count."""
        columns = np.asarray(self.function(frame), dtype=np.float64)
        columns = columns[:, None] if columns.ndim == 1 else columns
        if self.cells is not None:
            columns = np.where(frame["cell"].isin(self.cells).to_numpy()[:, None], columns, np.nan)
        return columns


def mean(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of one column."""
    return (weights @ columns[:, 0]) / weights.sum(1)


def metric(
    family: str,
    name: str,
    title: str,
    cells: tuple[str, ...] | None = None,
    lower_is_better: bool = False,
    maximum: float = 1.0,
    reduce: stats.Reduce = mean,
    headline: int | None = None,
) -> Callable[[T], T]:
    """Register the decorated function as a metric; decorators stack."""

    def register(function: T) -> T:
        if (family, name) in _registered:
            raise ValueError(f"metric {family}.{name} is defined twice")
        _registered[family, name] = Metric(family, name, title, cells, lower_is_better, maximum, reduce, function, headline)
        return function

    return register


@functools.cache
def known() -> dict[tuple[str, str], Metric]:
    """All metrics by (family, name), families in their own order, names sorted."""
    KINDS["metrics"].modules()
    families = tasks.benchmarked()
    return dict(sorted(_registered.items(), key=lambda item: (families.index(item[0][0]), item[0][1])))


def find(family: str, name: str) -> Metric:
    """The metric of a family; ValueError names the ones there are."""
    if (family, name) not in known():
        names = ", ".join(sorted(name for other, name in known() if other == family))
        raise ValueError(f"unknown metric {family}.{name}; metrics of {family}: {names or 'none'}")
    return known()[family, name]


def headlines() -> list[tuple[str, str]]:
    """(family, name) of what a reader looks at first, in its order; everything else is in the full table."""
    first = [(entry.headline, key) for key, entry in known().items() if entry.headline is not None]
    return [key for _, key in sorted(first)]


def compute(frame: pd.DataFrame, name: str) -> float:
    """The metric on item rows of one predictor and one family; NaN if no row counts or it is undefined."""
    families = frame["family"].unique()
    if len(families) != 1 or frame["predictor"].nunique() != 1:
        raise ValueError(
            f"compute wants rows of one predictor and one family, got {len(families)} families and "
            f"{frame['predictor'].nunique()} predictors"
        )
    return _point(*_usable(find(families[0], name), frame))


def table(frame: pd.DataFrame, config: Config) -> Table:
    """Every metric that is defined on the items of one predictor, with 95 % intervals (see `stats`): `ci95` resamples
    items, `ci95_photos` photographs (null with one photograph). `n` counts items.
    """
    result: Table = {}
    for (family, name), entry in known().items():
        rows = frame[frame["family"] == family]
        if rows.empty:
            continue
        entry, columns, sources = _usable(entry, rows)
        value = _point(entry, columns, sources)
        if not np.isfinite(value):
            continue
        resamples, seed = config.benchmark.bootstrap, config.seed
        items = stats.interval(stats.values(entry.reduce, columns, resamples, seed))
        photos = None
        if len(set(sources)) > 1:
            photos = stats.interval(stats.values(entry.reduce, columns, resamples, seed, sources.tolist()))
        result.setdefault(family, {})[name] = {
            "value": round(value, 6),
            "ci95": _rounded(items),
            "ci95_photos": _rounded(photos),
            "n": len(columns),
        }
    return result


def _usable(entry: Metric, rows: pd.DataFrame) -> tuple[Metric, np.ndarray, np.ndarray]:
    columns = entry.columns(rows)
    counts = np.isfinite(columns).all(1)
    return entry, columns[counts], rows["source_id"].to_numpy()[counts]


def _point(entry: Metric, columns: np.ndarray, sources: np.ndarray) -> float:
    if not len(columns):
        return float("nan")
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(entry.reduce(columns, np.ones((1, len(columns))))[0])


def _rounded(limits: stats.Interval | None) -> list[float] | None:
    return [round(limit, 6) for limit in limits] if limits else None

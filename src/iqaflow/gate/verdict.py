"""The verdict on a challenger: promoted, kept or unchanged, with the comparisons behind it. Items in, verdict out."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from iqaflow.core.config import Config
from iqaflow.gate import compare
from iqaflow.gate.compare import Comparison

if TYPE_CHECKING:
    import pandas as pd

MODEL = "model"  # our rows in the items table


class ComparisonRow(TypedDict):
    """A `Comparison` in reports/benchmark.json: values None where undefined, `ci95` [low, high] of `difference`."""

    metric: str
    rival: str
    new: float | None
    old: float | None
    difference: float | None
    ci95: list[float] | None
    n: int
    finding: str


class VerdictRow(TypedDict):
    """A `Verdict` in reports/benchmark.json."""

    outcome: str
    promoted: bool
    sentence: str
    rival: str
    primary: ComparisonRow | None
    guarded: list[ComparisonRow]
    left_out: int


@dataclass(frozen=True)
class Verdict:
    """`outcome` is promoted, kept (the champion stays, or there is none yet) or unchanged (it is the champion). `left_out`
    counts the items that only one of the two was asked, for the other does not know their categories.
    """

    outcome: str
    sentence: str
    rival: str = ""
    primary: Comparison | None = None
    guarded: tuple[Comparison, ...] = ()
    left_out: int = 0

    @property
    def promoted(self) -> bool:
        return self.outcome == "promoted"

    def numbers(self) -> dict[str, float]:
        """The comparisons as metrics for MLflow."""
        numbers = {"promoted": float(self.promoted)}
        for each in self._comparisons():
            if each.difference is not None:
                numbers[f"difference/{each.metric}"] = each.difference
            if each.ci95:
                numbers[f"difference_low/{each.metric}"], numbers[f"difference_high/{each.metric}"] = each.ci95
        return numbers

    def plain(self) -> VerdictRow:
        """The verdict as values for reports/benchmark.json."""
        comparisons = [_plain(each) for each in self._comparisons()]
        return {
            "outcome": self.outcome,
            "promoted": self.promoted,
            "sentence": self.sentence,
            "rival": self.rival,
            "primary": comparisons[0] if comparisons else None,
            "guarded": comparisons[1:],
            "left_out": self.left_out,
        }

    def markdown(self) -> str:
        """The verdict as a report: the sentence, and a table of the comparisons."""
        lines = [f"## Gate: {self.outcome}", "", self.sentence, ""]
        if self.primary:
            lines += [f"| metric | challenger | {self.rival} | difference (95 %) | n | |", "|---|---|---|---|---|---|"]
        for each in self._comparisons():
            role = "primary" if each is self.primary else "guarded"
            lines.append(
                f"| {each.metric} ({role}) | {_show(each.new)} | {_show(each.old)} | {_interval(each)} "
                f"| {each.n} | {each.finding} |"
            )
        return "\n".join(lines) + "\n"

    def _comparisons(self) -> list[Comparison]:
        return [*([self.primary] if self.primary else []), *self.guarded]


def unchanged(number: int) -> Verdict:
    """The model is the champion, byte for byte."""
    sentence = f"Version {number} is already champion: the model has not changed, so nothing was registered."
    return Verdict("unchanged", sentence)


def first(config: Config, items: pd.DataFrame, number: int) -> Verdict:
    """Without a champion: the primary metric against the baseline that comes closest."""
    metric, settings = config.benchmark.primary, config.benchmark
    closest = compare.hardest_baseline(items, MODEL, metric, settings.bootstrap, config.seed)
    if closest is None:
        return Verdict("kept", f"Version {number} is not promoted: no baseline has {metric} to compare with.")
    facts = f"{metric} {_show(closest.new)} against {_show(closest.old)} of the baseline {closest.rival} ({_interval(closest)})"
    if closest.better:
        return Verdict("promoted", f"Version {number} is the first champion: {facts}.", closest.rival, closest)
    return Verdict(
        "kept", f"Version {number} is not promoted: it does not beat the baselines beyond noise; {facts}.", closest.rival, closest
    )


def against_champion(
    config: Config, new: pd.DataFrame, old: pd.DataFrame, number: int, champion: int, apart: Collection[str] = ()
) -> Verdict:
    """Against the champion, both on the same items: those within both vocabularies. `apart` are the categories that only one of
    the two knows.
    """
    settings, rival = config.benchmark, f"champion (version {champion})"

    def against(metric: str) -> Comparison:
        return compare.against(new, old, metric, settings.bootstrap, config.seed, rival)

    primary = against(settings.primary)
    guarded = tuple(against(metric) for metric in settings.guarded if metric != settings.primary)
    worse = [each for each in guarded if each.worse]
    facts = f"{primary.metric} {_show(primary.new)} against {_show(primary.old)} ({_interval(primary)})"
    if worse:
        names = ", ".join(f"{each.metric} {_show(each.new)} against {_show(each.old)}" for each in worse)
        outcome = "kept"
        sentence = f"Version {number} is not promoted: it is worse than the {rival} in {names}; {facts}."
    elif not primary.better:
        outcome = "kept"
        sentence = f"Version {number} is not promoted: it is not better than the {rival} beyond noise; {facts}."
    else:
        outcome = "promoted"
        sentence = f"Version {number} replaces the {rival}: {facts}, and nothing guarded got worse."
    left_out = len(_item_keys(new) ^ _item_keys(old)) if apart else 0
    if left_out:
        sentence += f" {left_out} items are left out: only one of the two knows {', '.join(sorted(apart))}."
    return Verdict(outcome, sentence, rival, primary, guarded, left_out)


def _item_keys(items: pd.DataFrame) -> set[tuple[str, str]]:
    return set(zip(items["family"], items["item_id"], strict=True))


def _plain(each: Comparison) -> ComparisonRow:
    return {
        "metric": each.metric,
        "rival": each.rival,
        "new": _finite(each.new),
        "old": _finite(each.old),
        "difference": each.difference,
        "ci95": list(each.ci95) if each.ci95 else None,
        "n": each.n,
        "finding": each.finding,
    }


def _interval(each: Comparison) -> str:
    if each.difference is None or each.ci95 is None:
        return "not measured"
    return f"{each.difference:+.3f}, {each.ci95[0]:+.3f} to {each.ci95[1]:+.3f}"


def _show(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "not measured"


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None

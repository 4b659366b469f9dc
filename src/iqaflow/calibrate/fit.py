"""Fit stage two on the calibration items: read-out, temperatures, points, segmenter and gate, all by mask IoU.

A staged search, not a grid of everything: each read-out gets its temperatures with the map cut at its best share;
the best read-out gets its point; each segmenter gets its options; the best one stays. Deterministic in (items, seed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from iqaflow.calibrate.confidence import fit_logistic
from iqaflow.calibrate.methods import Method, argmax_box, argmax_words, centre, sub_task, summary, whole, with_segmenter
from iqaflow.calibrate.thresholds import fit_whole
from iqaflow.core.config import Config
from iqaflow.data.masks import contains, iou
from iqaflow.grounding import segmenters
from iqaflow.grounding.ground import concentration
from iqaflow.grounding.item import Item
from iqaflow.grounding.record import AblationRow, Fit, SegmenterRow
from iqaflow.grounding.text_to_point import READ_OUTS, Settings, is_whole, read_map, read_out, read_points, upsample

STEPS = 64  # shares of the maximum at which a map is cut while read-outs are compared
SMOOTHINGS, INSETS, WEIGHTS = (0.0, 0.8, 1.6), (0.0, 0.15, 0.25), (0.5, 0.25, 0.75)
FLOORS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
NEGATIVES = (0, 3)
MAX_LOCAL, MAX_POINTED, MAX_SLOW = 300, 1000, 48  # items used in all, and for each option of a slow segmenter


def fit(items: Sequence[Item], config: Config, seed: int) -> Fit:
    """`text_to_point`, `segmenter`, `gate`, `region`, `ablation`, `segmenters`, `items` of the calibration record.

    Without local items all stay at their defaults: there is nothing to fit them to.
    """
    gate = fit_whole(np.array([item.spatial.whole for item in items]), np.array([item.whole_truth for item in items]))
    local = [item for item in items if not item.whole_truth and item.true_mask.any()]
    counts = {"ground": len(items), "local": len(local), "global": sum(item.whole_truth for item in items)}
    if not local:
        return {
            "text_to_point": Settings().tree(),
            "segmenter": {"name": "map", "options": {}},
            "gate": gate,
            "region": fit_logistic([], [], config.calibrate.bins),
            "ablation": [],
            "segmenters": [],
            "items": counts | {"fitted": 0},
        }
    rng = np.random.default_rng(seed)
    used = _some(local, MAX_LOCAL, rng)
    possible = [name for name in READ_OUTS if any(read_out(item.spatial, Settings(name)) == name for item in used)]
    read_outs = {
        name: fit_read_out(name, used, config.calibrate.temperatures) for name in possible if name not in ("product", "all")
    }
    if "product" in possible:
        read_outs["product"] = fit_product(read_outs, used)
    if "all" in possible:
        read_outs["all"] = fit_all(read_outs, used)
    variants = {name: fit_point(settings, used) for name, (settings, _) in read_outs.items()}
    best = max(read_outs, key=lambda name: read_outs[name][1])  # the earlier, simpler one if equal
    pointed = fit_pointing(best, variants, _some(local, MAX_POINTED, rng))
    chosen, options, settings, table = fit_segmenter(pointed, used, config, rng)
    methods: dict[str, Method] = {
        "whole image": lambda item: (whole(item)[0], None),
        "centre": centre,
        "argmax words": argmax_words,
        "argmax box": argmax_box,
    }
    methods |= {f"{name} + map": with_segmenter(variant, "map", {}) for name, variant in variants.items()}
    if chosen != "map":  # the published point with the same segmenter
        methods[f"2x2 + {_short(chosen)}"] = with_segmenter(variants["2x2"], chosen, options)
    final = f"{best} + {_short(chosen)}"
    methods[final] = with_segmenter(settings, chosen, options)
    predictions = {name: [method(item) for item in used] for name, method in methods.items()}
    called = [is_whole(item.spatial, gate["threshold"]) for item in used]
    predictions[f"{final} + gate"] = [
        (whole(item)[0], prediction[1]) if says else prediction
        for item, says, prediction in zip(used, called, predictions[final], strict=True)
    ]
    ablation: list[AblationRow] = [{"method": name, **summary(used, row, seed)} for name, row in predictions.items()]
    for family in ("HyD", "SiD", "DAO"):
        part = [at for at, item in enumerate(used) if sub_task(item.kind) == family]
        if part:
            row = summary([used[at] for at in part], [predictions[final][at] for at in part], seed)
            ablation.append({"method": f"{final}, {family} only", **row})
    sure = [concentration(read_map(item.spatial, settings)) for item in used]
    hits = [
        point is not None and contains(item.true_mask, point) for item, (_, point) in zip(used, predictions[final], strict=True)
    ]
    return {
        "text_to_point": settings.tree(),
        "segmenter": {"name": chosen, "options": options},
        "gate": gate,
        "region": fit_logistic(sure, hits, config.calibrate.bins),
        "ablation": ablation,
        "segmenters": table,
        "items": counts | {"fitted": len(used)},
    }


def fit_read_out(name: str, items: Sequence[Item], taus: Sequence[float]) -> tuple[Settings, float]:
    """The temperature and smoothing (words: anchors) of a read-out, and the cut, by mIoU. Returns settings and mIoU."""
    key = {"2x2": "tau_words", "3x3": "tau_words", "cells": "tau_cells", "soft_box": "tau_box", "visual": "tau_visual"}[name]
    words, visual = ("inset", INSETS), ("smoothing", (0.0,))
    other, values = {"2x2": words, "3x3": words, "visual": visual}.get(name, ("smoothing", SMOOTHINGS))
    tried = [Settings.read({"read_out": name, key: tau, other: value}) for value, tau in product(values, sorted(taus, key=_far))]
    return _best(tried, items)


def fit_product(read_outs: dict[str, tuple[Settings, float]], items: Sequence[Item]) -> tuple[Settings, float]:
    """The share of cells and soft box in their product, each as fitted alone."""
    cells, box, words = (read_outs[name][0] for name in ("cells", "soft_box", "2x2"))
    base = Settings("product", words.tau_words, cells.tau_cells, box.tau_box, words.inset)
    return _best(
        [
            replace(base, weight=weight, smoothing=smoothing)
            for smoothing in sorted({cells.smoothing, box.smoothing})
            for weight in WEIGHTS
        ],
        items,
    )


def fit_all(read_outs: dict[str, tuple[Settings, float]], items: Sequence[Item]) -> tuple[Settings, float]:
    """The share of the visual tokens beside the product, each as fitted alone."""
    base = replace(read_outs["product"][0], read_out="all", tau_visual=read_outs["visual"][0].tau_visual)
    return _best([replace(base, weight_visual=weight) for weight in WEIGHTS], items)


def fit_point(settings: Settings, items: Sequence[Item]) -> Settings:
    """The floor under the point's expectation, by hit rate."""
    return replace(settings, floor=max(FLOORS, key=lambda floor: _hits(replace(settings, floor=floor), items).mean()))


def fit_pointing(best: str, variants: dict[str, Settings], items: Sequence[Item]) -> Settings:
    """The settings of the read-out `best`, with the point of the one that hits most if that gains more than one standard error:
    what makes the best mask need not make the best point.
    """
    own = variants[best]
    hits = {
        name: _hits(own if name == best else replace(own, pointing=name, floor=settings.floor), items)
        for name, settings in variants.items()
    }
    name = max(hits, key=lambda name: hits[name].mean())
    if name == best or not _gains(hits[name], hits[best]):
        return own
    return replace(own, pointing=name, floor=variants[name].floor)


def _hits(settings: Settings, items: Sequence[Item]) -> np.ndarray:
    """Whether the point of each item lies in its mask (n,)."""
    first_point = replace(settings, points=1, negatives=0)
    return np.array(
        [
            contains(item.true_mask, read_points(item.spatial, read_map(item.spatial, first_point), item.size, first_point)[0][0])
            for item in items
        ],
        np.float64,
    )


def fit_segmenter(
    settings: Settings, items: Sequence[Item], config: Config, rng: np.random.Generator
) -> tuple[str, dict[str, Any], Settings, list[SegmenterRow]]:
    """The segmenter, its options and its points by mIoU. A later name of `calibrate.segmenters`, more points or
    negative points replace what is there only if they gain more than one standard error. The table has them all.
    """
    few = _some(items, MAX_SLOW, rng)
    best: tuple[np.ndarray, str, dict[str, Any]] | None = None
    table: list[SegmenterRow] = []
    for name in config.calibrate.segmenters:
        module, _ = segmenters.find(name)
        sample = few if module.SLOW else items
        options = max(segmenters.candidates(name), key=lambda options: _ious(settings, name, options, sample).mean())
        values = _ious(settings, name, options, items)
        table.append({"name": name, "options": options, "miou": float(values.mean()), "n": len(values)})
        if best is None or _gains(values, best[0]):
            best = values, name, options
    if best is None:
        return "map", {}, settings, table
    _, name, options = best
    if segmenters.find(name)[0].SLOW:  # those that look at the image also look at points
        kept = _ious(settings, name, options, few)
        for low, count in product(NEGATIVES, sorted(config.calibrate.points)):
            tried = replace(settings, points=count, negatives=low)
            values = _ious(tried, name, options, few)
            if _gains(values, kept):
                settings, kept = tried, values
    return name, options, settings, table


def cut_curve(map_: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """IoU (STEPS,) of the map, cut at each k / STEPS of its maximum, with a true mask, in one pass."""
    dense = upsample(map_, truth.shape)
    level = np.minimum((dense * (STEPS / dense.max())).astype(np.int64), STEPS - 1).ravel()
    inside = np.bincount(level, minlength=STEPS)[::-1].cumsum()[::-1]
    right = np.bincount(level[truth.ravel()], minlength=STEPS)[::-1].cumsum()[::-1]
    return right / np.maximum(inside + np.count_nonzero(truth) - right, 1)


def _best(tried: Sequence[Settings], items: Sequence[Item]) -> tuple[Settings, float]:
    truths = [_reduced(item.true_mask) for item in items]
    best: tuple[Settings, float] | None = None
    for settings in tried:
        curve = np.mean(
            [cut_curve(read_map(item.spatial, settings), truth) for item, truth in zip(items, truths, strict=True)], axis=0
        )
        at = int(curve.argmax())
        if best is None or curve[at] > best[1] + 1e-9:
            best = replace(settings, cut=at / STEPS), float(curve[at])
    assert best is not None
    return best


def _reduced(mask: np.ndarray, longest: int = 128) -> np.ndarray:
    """A large mask thinned out to about `longest` pixels: enough to compare read-outs on a 20x20 grid."""
    step = max(1, max(mask.shape) // longest)
    thin = mask[step // 2 :: step, step // 2 :: step]
    return thin if thin.any() else mask


def _ious(settings: Settings, name: str, options: dict[str, Any], items: Sequence[Item]) -> np.ndarray:
    method = with_segmenter(settings, name, options)
    return np.array([iou(method(item)[0], item.true_mask) for item in items])


def _gains(values: np.ndarray, over: np.ndarray) -> bool:
    """Whether the mean paired gain is above its standard error: a smaller one is noise, and the simpler way stays."""
    gain = values - over
    return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


def _some(items: Sequence[Item], most: int, rng: np.random.Generator) -> list[Item]:
    chosen = np.sort(rng.permutation(len(items))[:most])
    return [items[at] for at in chosen]


def _far(tau: float) -> float:
    """Temperatures nearest 1 first: of equals the plainest is kept."""
    return abs(float(np.log(tau)))


def _short(name: str) -> str:
    return name.partition(":")[0]

"""Text to point: the logits of an answer's position words, read as points, a map and a box. Trains nothing.

Published form (IQA-Spider, section 3.3 of the paper; `point_2x2`): one softmax over top/bottom, one over left/right,
one point. Beyond it: three words an axis; the distribution over the point's cell as a map, the distributions over the
box's two corner cells as a soft box, their product, what the visual tokens themselves say through the language head
(`engine.logit_lens`), and all of it together. `iqaflow calibrate` chooses among them.

Maps are (20, 20) arrays over the grid of the model's cells, row 0 at the top; those of visual tokens may be finer. Sizes are
(height, width) in pixels, points (x, y) in pixels of the image, origin top left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isqrt
from typing import Any, cast

import numpy as np

from iqaflow.grounding.maps import above, keep
from iqaflow.grounding.record import TextToPoint
from iqaflow.tasks.grammar import GRID

READ_OUTS = ("2x2", "3x3", "cells", "soft_box", "product", "visual", "all")
TINY = 1e-6
Point = tuple[float, float]


@dataclass(frozen=True)
class Spatial:
    """What a model's logits say about one place, read at the steps that emit the words of a `ground` answer.

    `vertical` (n,) logits of the vertical words from top to bottom, `horizontal` (n,) from left to right (published:
    n = 2); `whole` log-odds of `whole image` against a place; `cells` (400,) logits of the point's cell, `first` and
    `last` (400,) of the box's corner cells, row by row; `visual` (20 or more, 20 or more) how much each part
    of the image suffers from what is asked, 0..1, by its visual tokens; `rows` and `columns` (3,)
    logits with a middle word between the two, where the model has one. The last six are None where the model does not give
    them.
    """

    vertical: np.ndarray
    horizontal: np.ndarray
    whole: float
    cells: np.ndarray | None = None
    first: np.ndarray | None = None
    last: np.ndarray | None = None
    visual: np.ndarray | None = None
    rows: np.ndarray | None = None
    columns: np.ndarray | None = None

    @property
    def grid(self) -> int:
        """Cells a side of the model's grid."""
        given = next((logits for logits in (self.cells, self.first, self.last) if logits is not None), None)
        return GRID if given is None else isqrt(len(given))


@dataclass(frozen=True)
class Settings:
    """How a `Spatial` is read; fitted on the calibration split and stored in `models/calibration.json`."""

    read_out: str = "product"
    """One of `READ_OUTS`; one whose logits are missing falls back to what there is."""
    tau_words: float = 1.0
    """Temperature of the position words."""
    tau_cells: float = 1.0
    """Temperature of the point's cell."""
    tau_box: float = 1.0
    """Temperature of the box's corner cells."""
    inset: float = 0.0
    """The first and the last word's anchor, as a share of the side away from the edge (published: 0)."""
    tau_visual: float = 1.0
    """Temperature of the visual tokens' map: values to the power 1 / tau."""
    weight: float = 0.5
    """Share of the cells in the product; the rest is the soft box's."""
    weight_visual: float = 0.5
    """Share of the visual tokens in `all`; the rest is the product's."""
    smoothing: float = 0.0
    """Gaussian smoothing of the map, in cells."""
    cut: float = 0.5
    """Share of the map's maximum at which it is cut best; segmenters see the map bent so that this becomes 1/2."""
    floor: float = 0.0
    """Cells below this share of the map's maximum do not pull at the point."""
    points: int = 1
    """Positive points at most."""
    negatives: int = 0
    """Negative points."""
    pointing: str = ""
    """The read-out of the point, where another one hits more often than the map's; empty: the same."""

    def tree(self) -> TextToPoint:
        """As the record keeps it."""
        return cast(TextToPoint, asdict(self))  # a test holds the fields of the two together

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> Settings:
        """Settings from stored values; ValueError names what does not belong."""
        known = {field.name for field in fields(cls)}
        if unknown := set(tree) - known:
            raise ValueError(f"unknown text-to-point settings {sorted(unknown)}, expected some of {sorted(known)}")
        settings = cls(**tree)
        for name in filter(None, (settings.read_out, settings.pointing)):
            if name not in READ_OUTS:
                raise ValueError(f"unknown read-out {name!r}, expected one of {', '.join(READ_OUTS)}")
        return settings


def softmax(logits: np.ndarray, tau: float = 1.0) -> np.ndarray:
    """Probabilities over a closed set: exp(logit / tau), normalised. -inf is probability 0; if no logit is finite,
    all are equally likely.
    """
    values = np.asarray(logits, dtype=np.float64) / tau
    values = np.where(np.isnan(values), -np.inf, np.clip(values, -np.inf, 1e30))
    top = values.max(initial=-np.inf)
    if not np.isfinite(top):
        return np.full(values.shape, 1.0 / max(values.size, 1))
    powers = np.exp(values - top)
    return powers / powers.sum()


def expectation(logits: np.ndarray, tau: float = 1.0, inset: float = 0.0) -> float:
    """Expected position in 0..1 of words spread evenly along an axis, the outer ones `inset` from its ends.

    With two words and no inset this is the published sigmoid((logit_1 - logit_0) / tau).
    """
    chances = softmax(logits, tau)
    return float(chances @ np.linspace(inset, 1.0 - inset, len(chances)))


def point_2x2(spatial: Spatial, size: tuple[int, int], tau: float = 1.0, inset: float = 0.0) -> Point:
    """The published point: x = W * sigmoid((right - left) / tau), y = H * sigmoid((bottom - top) / tau)."""
    return _pixels(expectation(spatial.horizontal, tau, inset), expectation(spatial.vertical, tau, inset), size)


def point_3x3(spatial: Spatial, size: tuple[int, int], tau: float = 1.0, inset: float = 0.0) -> Point:
    """The published point with three words an axis: the middle word's anchor is the middle."""
    if spatial.columns is None or spatial.rows is None:
        raise ValueError("the model has no middle words: read with two words an axis")
    return _pixels(expectation(spatial.columns, tau, inset), expectation(spatial.rows, tau, inset), size)


def map_around(point: Point, size: tuple[int, int]) -> np.ndarray:
    """Map (20, 20) of a point: nearness to it, so that a threshold is a disc around the point."""
    u, v = point[0] / size[1], point[1] / size[0]
    return np.exp(-8.0 * ((_centres(GRID) - u)[None, :] ** 2 + (_centres(GRID) - v)[:, None] ** 2))


WORDS = {"2x2": point_2x2, "3x3": point_3x3}


def map_cells(spatial: Spatial, tau: float = 1.0) -> np.ndarray:
    """Probability (20, 20), summing to 1, that the point's cell is each cell; flat if the model gives no cells."""
    grid = spatial.grid
    if spatial.cells is None:
        return np.full((grid, grid), 1.0 / grid**2)
    return softmax(spatial.cells, tau).reshape(grid, grid)


def soft_box(spatial: Spatial, tau: float = 1.0) -> np.ndarray:
    """Probability (20, 20) that each cell lies inside the box; 1 everywhere if the model gives no box.

    A row is inside if the first cell's row is not below it and the last cell's row not above it, columns alike: the
    product of four cumulative distributions (corners taken as independent).
    """
    grid = spatial.grid
    if spatial.first is None or spatial.last is None:
        return np.ones((grid, grid))
    first = softmax(spatial.first, tau).reshape(grid, grid)
    last = softmax(spatial.last, tau).reshape(grid, grid)
    rows, columns = (np.cumsum(first.sum(1 - axis)) * np.cumsum(last.sum(1 - axis)[::-1])[::-1] for axis in (0, 1))
    return rows[:, None] * columns[None, :]


def combine(maps: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """Weighted geometric mean of maps, scaled to maximum 1: high only where all of them are."""
    logs = sum(weight * np.log(scaled(map_) + TINY) for map_, weight in zip(maps, weights, strict=True))
    return scaled(np.exp((logs - np.max(logs)) / max(sum(weights), TINY)))


def smooth(map_: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing by `sigma` cells; the border is not darkened."""
    if sigma <= 0:
        return map_
    kernels = []
    for side in map_.shape:
        steps = np.arange(side)
        kernel = np.exp(-((steps[:, None] - steps[None, :]) ** 2) / (2 * sigma**2))
        kernels.append(kernel / kernel.sum(1, keepdims=True))
    return kernels[0] @ map_ @ kernels[1].T


def scaled(map_: np.ndarray) -> np.ndarray:
    """The map with maximum 1; a map of zeros becomes ones, for it prefers no place."""
    top = float(np.max(map_))
    return map_ / top if top > 0 else np.ones_like(map_, dtype=np.float64)


def read_out(spatial: Spatial, settings: Settings) -> str:
    """The chosen read-out, or the best one that the model's logits allow."""
    cells, box = spatial.cells is not None, spatial.first is not None and spatial.last is not None
    visual = spatial.visual is not None
    middle = spatial.rows is not None and spatial.columns is not None
    possible = {
        "2x2": True,
        "3x3": middle,
        "cells": cells,
        "soft_box": box,
        "product": cells and box,
        "visual": visual,
        "all": cells and box and visual,
    }
    for name in (settings.read_out, "product", "cells", "soft_box"):
        if possible[name]:
            return name
    return "2x2"


def read_map(spatial: Spatial, settings: Settings) -> np.ndarray:
    """The map, maximum 1, of the read-out: (20, 20), or as fine as the visual tokens that take part."""
    chosen = read_out(spatial, settings)
    if chosen in WORDS:
        return scaled(map_around(WORDS[chosen](spatial, (GRID, GRID), settings.tau_words, settings.inset), (GRID, GRID)))
    if chosen == "visual":
        return map_visual(spatial, settings)
    cell_map = scaled(smooth(map_cells(spatial, settings.tau_cells), settings.smoothing))
    if chosen == "cells":
        return cell_map
    box_map = scaled(smooth(soft_box(spatial, settings.tau_box), settings.smoothing))
    if chosen == "soft_box":
        return box_map
    product = combine([cell_map, box_map], [settings.weight, 1 - settings.weight])
    if chosen == "product":
        return product
    visual = map_visual(spatial, settings)
    return combine([upsample(product, visual.shape), visual], [1 - settings.weight_visual, settings.weight_visual])


def map_visual(spatial: Spatial, settings: Settings) -> np.ndarray:
    """Map, maximum 1, of the visual tokens; ones (20, 20) if the model gives none."""
    if spatial.visual is None:
        return np.ones((spatial.grid, spatial.grid))
    return scaled(np.clip(spatial.visual, 0, None).astype(np.float64)) ** (1.0 / settings.tau_visual)


def read_points(spatial: Spatial, map_: np.ndarray, size: tuple[int, int], settings: Settings) -> tuple[list[Point], list[Point]]:
    """Positive and negative points of the read-out whose map is `map_`; the first positive is *the* point."""
    pointing = replace(settings, read_out=settings.pointing or settings.read_out)
    words, first = WORDS.get(read_out(spatial, pointing)), None
    if words:
        first = words(spatial, size, settings.tau_words, settings.inset)
    elif pointing != settings:
        first = point_expectation(read_map(spatial, pointing), size, settings.floor)
    return points(map_, size, settings.points, settings.negatives, first, settings.floor)


def point_expectation(map_: np.ndarray, size: tuple[int, int], floor: float = 0.0) -> Point:
    """The map's centre of mass in pixels, over the cells at or above `floor` times its maximum: 0 is the mean of
    everything, 1 the peak. Of several such parts only the one with the most counts: between two regions is neither.
    """
    rows, columns = map_.shape
    weights = np.where(keep(above(map_, floor), map_, "largest"), map_, 0.0)
    total = float(weights.sum())
    if total <= 0:
        return _pixels(0.5, 0.5, size)
    u = float(weights.sum(0) @ _centres(columns)) / total
    v = float(weights.sum(1) @ _centres(rows)) / total
    return _pixels(u, v, size)


def points(
    map_: np.ndarray,
    size: tuple[int, int],
    count: int = 1,
    negatives: int = 0,
    first: Point | None = None,
    floor: float = 0.0,
    apart: float = 0.15,
) -> tuple[list[Point], list[Point]]:
    """Positive and negative points. The first positive is `first` or the centre of mass; more are the highest cells
    left at least `apart` (share of the side) from those taken, while they reach half the maximum. Negatives are the
    lowest cells, among equally low ones the farthest from all points taken, never within `apart` of a positive.
    """
    map_ = scaled(map_)
    rows, columns = map_.shape
    vs, us = np.repeat(_centres(rows), columns), np.tile(_centres(columns), rows)
    values = np.round(map_.ravel(), 2)  # cells that differ by less are equally low

    def distances(taken: list[Point]) -> np.ndarray:
        return np.min([np.hypot(us - x / size[1], vs - y / size[0]) for x, y in taken], axis=0)

    positives = [first or point_expectation(map_, size, floor)]
    while len(positives) < count:
        left = np.where(distances(positives) >= apart, map_.ravel(), -1.0)
        best = int(np.argmax(left))
        if left[best] < 0.5:
            break
        positives.append(_pixels(us[best], vs[best], size))
    lows: list[Point] = []
    while len(lows) < negatives:
        far = distances(positives + lows)
        allowed = np.flatnonzero((far >= apart) & (values < 0.5))
        if not len(allowed):
            break
        low = min(allowed, key=lambda cell: (values[cell], -round(float(far[cell]), 6), int(cell)))
        lows.append(_pixels(us[low], vs[low], size))
    return positives, lows


def is_whole(spatial: Spatial, threshold: float = 0.0) -> bool:
    """The gate: whether the answer is the whole image rather than a place."""
    return bool(spatial.whole > threshold)


def box_cells(spatial: Spatial) -> tuple[int, int] | None:
    """The likeliest first and last cell, made a box whatever their order; None if the model gives no box."""
    if spatial.first is None or spatial.last is None:
        return None
    grid = spatial.grid
    corners = (divmod(int(np.argmax(logits)), grid) for logits in (spatial.first, spatial.last))
    rows, columns = zip(*corners, strict=True)
    return min(rows) * grid + min(columns), max(rows) * grid + max(columns)


def upsample(map_: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map on a grid as (H, W) float32, bilinear between cell centres, constant beyond the outer ones."""
    rows, columns = (_interpolation(pixels, cells) for pixels, cells in zip(size, map_.shape, strict=True))
    return rows @ map_.astype(np.float32) @ columns.T


def dense_map(map_: np.ndarray, size: tuple[int, int], cut: float) -> np.ndarray:
    """What segmenters see: the map as (H, W) float32 with maximum 1, bent by a power so that `cut` becomes 1/2. The
    thresholds of a segmenter then mean the same whatever the read-out.
    """
    cut = min(max(cut, 0.01), 0.99)
    return scaled(upsample(map_, size)) ** np.float32(np.log(0.5) / np.log(cut))


def _interpolation(pixels: int, cells: int) -> np.ndarray:
    """Weights (pixels, cells) of a linear interpolation between cell centres."""
    at = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(cells)[None, :]), 0).astype(np.float32)


def _centres(cells: int) -> np.ndarray:
    return (np.arange(cells) + 0.5) / cells


def _pixels(u: float, v: float, size: tuple[int, int]) -> Point:
    """Relative position in pixels, kept on the image."""
    height, width = size
    return min(max(float(u) * width, 0.0), width - 1e-3), min(max(float(v) * height, 0.0), height - 1e-3)

"""What a calibration compares: ways from a grounding question's logits to a mask and a point, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iqaflow.data.masks import contains, iou, rectangle
from iqaflow.grounding import segmenters
from iqaflow.grounding.item import Item
from iqaflow.grounding.record import Interval, Scores
from iqaflow.grounding.text_to_point import Point, Settings, box_cells, dense_map, read_map, read_points
from iqaflow.tasks.grammar import cells_box

RESAMPLES = 1000  # bootstrap resamples behind an interval


Prediction = tuple[np.ndarray, Point | None]  # mask (H, W) and the point, if the method has one
Method = Callable[[Item], Prediction]


def sub_task(kind: str) -> str:
    """Which of the paper's sub-tasks a question's kind belongs to: worst or best overall (HyD), for a named distortion
    (SiD), by the order of distortions (DAO).
    """
    sort, _, named = kind.partition("_")
    return "DAO" if sort in ("order", "first", "last") else "SiD" if named else "HyD"


def with_segmenter(settings: Settings, name: str, options: dict[str, Any]) -> Method:
    """A read-out and a segmenter as one method; its point is the read-out's first."""

    def method(item: Item) -> Prediction:
        map_ = read_map(item.spatial, settings)
        points, negatives = read_points(item.spatial, map_, item.size, settings)
        cells = box_cells(item.spatial)
        box = cells_box(*cells, *item.size[::-1]) if cells else None
        dense = dense_map(map_, item.size, settings.cut)
        return segmenters.segment(name, item.image, dense, points, negatives, box, options), points[0]

    return method


def whole(item: Item) -> Prediction:
    height, width = item.size
    return np.ones(item.size, dtype=bool), (width / 2, height / 2)


def centre(item: Item) -> Prediction:
    """The middle box of half the sides."""
    height, width = item.size
    return rectangle(item.size, (width / 4, height / 4, 3 * width / 4, 3 * height / 4)), (width / 2, height / 2)


def argmax_words(item: Item) -> Prediction:
    """The quadrant that the likeliest two words name."""
    height, width = item.size
    rows, columns = len(item.spatial.vertical), len(item.spatial.horizontal)
    row, column = int(np.argmax(item.spatial.vertical)), int(np.argmax(item.spatial.horizontal))
    box = column * width / columns, row * height / rows, (column + 1) * width / columns, (row + 1) * height / rows
    return rectangle(item.size, box), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def argmax_box(item: Item) -> Prediction:
    """The likeliest box as it is written; the quadrant if the model writes none."""
    cells = box_cells(item.spatial)
    if cells is None:
        return argmax_words(item)
    box = cells_box(*cells, *item.size[::-1])
    return rectangle(item.size, box), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def summary(items: Sequence[Item], predictions: Sequence[Prediction], seed: int) -> Scores:
    """`miou` and `hit_rate` as {value, ci95, n}; the hit rate is None for a method without points."""
    values = [iou(mask, item.true_mask) for item, (mask, _) in zip(items, predictions, strict=True)]
    hits = [contains(item.true_mask, point) for item, (_, point) in zip(items, predictions, strict=True) if point]
    return {
        "miou": interval(np.array(values), seed),
        "hit_rate": interval(np.array(hits, dtype=np.float64), seed) if hits else None,
    }


def interval(values: np.ndarray, seed: int) -> Interval:
    """Mean with its 95 % percentile-bootstrap interval over items.

    Not shared with `benchmark.stats`: the same estimate from other draws (here indices by `seed`, there counts by seed and
    number of items, all metrics at once), so that on one input the limits differ from the third decimal on.
    """
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    return {"value": float(values.mean()), "ci95": [float(low), float(high)], "n": len(values)}

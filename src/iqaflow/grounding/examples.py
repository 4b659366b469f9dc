"""Grounded answers beside the truth, kept by the stages that measure so that the report can draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.data.masks import encode_mask
from iqaflow.data.tables import write_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from iqaflow.grounding.ground import Grounding

Row = dict[str, Any]


def schema() -> pa.Schema:
    """One row per grounded answer: the image as bytes, the true mask and the answer's as COCO RLE, the answer's points (x, y) in
    pixels, the point first, whether it says `whole image`, and what was asked.
    """
    import pyarrow as pa

    rle = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    points = pa.list_(pa.list_(pa.float64()))
    return pa.schema(
        [
            ("item_id", pa.string()),
            ("text", pa.string()),
            ("image", pa.binary()),
            ("true_mask_rle", rle),
            ("pred_mask_rle", rle),
            ("points", points),
            ("negatives", points),
            ("whole", pa.bool_()),
        ]
    )


def example(image: bytes, truth: np.ndarray, answer: Grounding, text: str, item_id: str = "") -> Row:
    """The row of one answer; truth (H, W) bool."""
    return {
        "item_id": item_id,
        "text": text,
        "image": image,
        "true_mask_rle": encode_mask(truth),
        "pred_mask_rle": encode_mask(answer.mask),
        "points": [list(map(float, point)) for point in answer.points],
        "negatives": [list(map(float, point)) for point in answer.negatives],
        "whole": bool(answer.whole),
    }


def write(path: Path, rows: Sequence[Row]) -> None:
    """The same rows give the same bytes."""
    write_table(path, rows, schema())


def read(path: Path) -> list[Row]:
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, the first and the last among them, so that a choice from best to worst flatters nobody."""
    if len(items) <= count:
        return list(items)
    return [items[round(at * (len(items) - 1) / (count - 1))] for at in range(count)]

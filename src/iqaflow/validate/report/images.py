"""Images of the page: their rows, their pictures with the regions that matter, and what was done to them in words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.data.decoding import decode
from iqaflow.data.masks import read_mask
from iqaflow.data.tables import parts
from iqaflow.draw.html import pictures
from iqaflow.draw.html.text import short
from iqaflow.draw.text import recipe

if TYPE_CHECKING:
    import numpy as np
    from markupsafe import Markup

SIDE, THUMB = 320, 96  # longest side in pixels of an example and of a thumbnail
LIMIT = 30_000_000  # pixels of an image that is still drawn


def rows(folder: Path, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Rows of the `images` table by id, bytes included; the first of equal ids. Only their row groups are read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows_by_id: dict[str, dict[str, Any]] = {}
    wanted = pa.array(sorted(ids), pa.string())
    for path in parts(folder, "images") if ids else ():
        names = pq.read_table(path, columns=["image_id"])["image_id"]
        places = pc.indices_nonzero(pc.is_in(names, value_set=wanted)).to_pylist()
        if not places:
            continue
        with pq.ParquetFile(path) as stored:
            start = 0
            for group in range(stored.num_row_groups):
                stop = start + stored.metadata.row_group(group).num_rows
                if mine := [place - start for place in places if start <= place < stop]:
                    for row in stored.read_row_group(group).take(mine).to_pylist():
                        rows_by_id.setdefault(row["image_id"], row)
                start = stop
    return rows_by_id


def thumbnail(row: dict[str, Any] | None) -> str:
    """The `data:` URL of a small picture of an image row, empty if it cannot be decoded."""
    image = None if row is None else decode(row["image"], LIMIT)[0]
    return "" if image is None else pictures.data_url(pictures.reduced(image, THUMB, "JPEG"))


def drawn(row: dict[str, Any] | None, caption: str, target_regions: Collection[int]) -> Markup | None:
    """An image with its distorted regions outlined, and dashed those that a question is about; None if it cannot be decoded."""
    image = None if row is None else decode(row["image"], LIMIT)[0]
    if row is None or image is None:
        return None
    distorted = _distorted(row)
    masks = [
        ("truth" if region["region_id"] in distorted else "asked", mask)
        for region, mask in _outlined(row, distorted | set(target_regions))
    ]
    height, width = image.shape[:2]
    return pictures.overlay(pictures.reduced(image, SIDE), height, width, masks, short(caption))


def flaws(row: dict[str, Any] | None) -> str:
    """What was done to an image, in the words of answers: `serious blur in the dark green region`."""
    return "" if row is None else "; ".join(recipe(row, named=True)) or "clean"


def _distorted(row: dict[str, Any]) -> set[int]:
    return {flaw["region_id"] for flaw in row["distortions"] or () if flaw and flaw["region_id"] is not None}


def _outlined(row: dict[str, Any], wanted: Collection[int]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """The regions with these ids and their masks, where they can be read."""
    outlined = []
    for region in row["regions"] or ():
        if region and region["region_id"] in wanted:
            mask, _ = read_mask(region["mask_rle"], row["height"], row["width"], LIMIT)
            if mask is not None:
                outlined.append((region, mask))
    return outlined

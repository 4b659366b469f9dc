"""Pictures for the page: images as data addresses, masks as outlines."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.data import decoding
from iqaflow.data.tables import parts
from iqaflow.validate.report.text import escape

if TYPE_CHECKING:
    import numpy as np

SIDE, THUMB = 320, 96  # longest side in pixels of an example and of a thumbnail
LIMIT = 30_000_000  # pixels of an image that is still drawn
NOTHING = '<span class="nothumb" title="this image cannot be shown">?</span>'


def rows(folder: Path, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Rows of the `images` table by id, bytes included; the first of equal ids. Only their row groups are read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, dict[str, Any]] = {}
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
                        found.setdefault(row["image_id"], row)
                start = stop
    return found


def thumbnail(row: dict[str, Any] | None) -> str:
    """A small picture of an image row, or an empty frame if it cannot be decoded."""
    image = None if row is None else decoding.decode(row["image"], LIMIT)[0]
    if image is None:
        return NOTHING
    return f'<img class="thumb" alt="" src="{_address(image, THUMB, "JPEG")}">'


def drawn(row: dict[str, Any] | None, caption: str, asked: Collection[int]) -> str:
    """An image with its distorted regions outlined, and dashed those that a question is about."""
    image = None if row is None else decoding.decode(row["image"], LIMIT)[0]
    if row is None or image is None:
        return (
            f'<figure class="picture"><span class="nothumb">?</span><figcaption>{escape(caption)}</figcaption></figure>'
        )
    height, width = image.shape[:2]
    shapes = []
    for region, mask in _outlined(row, asked):
        path = outline(mask)
        style = "spoilt" if region["region_id"] in _spoilt(row) else "asked"
        shapes.append(f'<path class="casing" d="{path}"/><path class="{style}" d="{path}"/>')
    return (
        f'<figure class="picture"><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(caption)}">'
        f'<image href="{_address(image, SIDE, "PNG")}" width="{width}" height="{height}"/>{"".join(shapes)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def flaws(row: dict[str, Any] | None) -> str:
    """What was done to an image, in the words of answers: `serious blur in the dark green region`."""
    from iqaflow import distortions

    if row is None:
        return ""
    known = distortions.categories()
    labels = {region["region_id"]: region["label"] for region in row["regions"] or () if region}
    said = []
    for flaw in filter(None, row["distortions"] or ()):
        category = flaw["category"]
        where = "" if flaw["region_id"] is None else f" in the {labels.get(flaw['region_id'], 'unknown region')}"
        said.append(f"{flaw['severity']} {known[category].phrase if category in known else category}{where}")
    return "; ".join(said) or "clean"


def outline(mask: np.ndarray) -> str:
    """The border of a bool mask (H, W) as an SVG path in pixels."""
    import cv2
    import numpy as np

    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    return "".join(
        f"M{'L'.join(f'{x + 0.5:g} {y + 0.5:g}' for x, y in contour.reshape(-1, 2))}Z"
        for contour in found
        if len(contour) > 2
    )


def _spoilt(row: dict[str, Any]) -> set[int]:
    return {flaw["region_id"] for flaw in row["distortions"] or () if flaw and flaw["region_id"] is not None}


def _outlined(row: dict[str, Any], asked: Collection[int]) -> list[tuple[dict[str, Any], np.ndarray]]:
    wanted = _spoilt(row) | set(asked)
    found = []
    for region in row["regions"] or ():
        if region and region["region_id"] in wanted:
            mask, _ = decoding.decode_mask(region["mask_rle"], row["height"], row["width"], LIMIT)
            if mask is not None:
                found.append((region, mask))
    return found


def _address(image: np.ndarray, side: int, kind: str) -> str:
    """An image (H, W, 3) as a `data:` address, reduced to `side` if it is larger."""
    from PIL import Image

    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    if kind == "PNG":
        picture.save(buffer, format="PNG", optimize=True)
    else:
        picture.save(buffer, format="JPEG", quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

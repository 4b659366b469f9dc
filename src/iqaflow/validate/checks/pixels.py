"""The pixel pass: decode every image, reference and mask and measure what the tables claim about them.

Great Expectations cannot look at pixels, so this pass turns them into plain columns (`image_fault`,
`changed_outside`, `box_error`, ...) that the suites then judge. It never raises on bad data: a fault is a value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.data.decoding import Decoded, decode, flat
from iqaflow.data.masks import extent, mask_runs, painted
from iqaflow.data.tables import ORIGINS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NEEDED = ["image_id", "origin", "width", "height", "image", "reference", "distortions", "regions"]
IMAGE_COLUMNS = (
    "image_fault",
    "image_mode",
    "image_width",
    "image_height",
    "reference_fault",
    "reference_mode",
    "reference_width",
    "reference_height",
    "changed",
    "changed_outside",
    "digest",
)
REGION_COLUMNS = ("mask_fault", "area_error", "box_error", "changed_inside")
WORDS = ("image_fault", "image_mode", "reference_fault", "reference_mode", "mask_fault", "decoded", "has_reference", "digest")
SHARED = 500  # images worth a worker process of their own


def measure(files: Iterable[Path], max_pixels: int, rows: int | None, workers: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measurements for every row of the `images` parts in `files`, and for every region, in table order.

    `rows` limits how many images are decoded (chosen by the hash of their id); the others get nulls and
    `decoded` False. Columns: see `_row` and `_region`. The result does not depend on `workers`.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    files = list(files)
    chosen = _choose(files, rows)
    total = sum(pq.read_metadata(file).num_rows for file in files) if chosen is None else len(chosen)
    workers = max(min(workers, len(files), total // SHARED), 1)
    if workers == 1:
        measured = [_part(file, max_pixels, chosen) for file in files]
    else:
        from joblib import Parallel, delayed

        measured = Parallel(n_jobs=workers, backend="loky")(delayed(_part)(file, max_pixels, chosen) for file in files)
    images = pd.DataFrame([row for part, _ in measured for row in part], columns=["decoded", "has_reference", *IMAGE_COLUMNS])
    regions = pd.DataFrame([row for _, part in measured for row in part], columns=list(REGION_COLUMNS))
    for frame in (images, regions):
        for column in frame.columns.difference(WORDS):  # a column of nulls alone must still be one of numbers
            frame[column] = pd.to_numeric(frame[column])
    return images, regions


def _part(file: Path, max_pixels: int, chosen: set[str] | None) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """One part file, a row group at a time, so that memory does not grow with the part."""
    import cv2
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    cv2.setNumThreads(1)  # workers share the cores
    images: list[tuple[Any, ...]] = []
    regions: list[tuple[Any, ...]] = []
    with pq.ParquetFile(file) as stored:
        light = [name for name in NEEDED if name not in ("image", "reference")]
        for group in range(stored.num_row_groups):
            names = stored.read_row_group(group, columns=["image_id", "regions"])
            ids = names["image_id"].to_pylist()
            wanted = [chosen is None or name in chosen for name in ids]
            table = stored.read_row_group(group, columns=NEEDED if any(wanted) else light)
            blank = [None] * len(ids)
            has = table["reference"].is_valid().to_pylist() if any(wanted) else _stored(stored, group)
            rows: list[Any] = table.select(light).to_pylist() if any(wanted) else blank
            counts = np.asarray(pc.fill_null(pc.list_value_length(names["regions"]), 0)).tolist()
            before: tuple[bytes, Decoded] = (b"", decode(None, max_pixels))  # neighbours often share a reference
            for number in range(len(ids)):
                if not wanted[number]:
                    images.append((False, has[number], *[None] * len(IMAGE_COLUMNS)))
                    regions += [(None,) * len(REGION_COLUMNS)] * counts[number]
                    continue
                data, original = (table[name][number].as_py() for name in ("image", "reference"))
                if original is not None and original != before[0]:
                    before = original, decode(original, max_pixels)
                image, parts = _row(rows[number], data, None if original is None else before[1], max_pixels)
                images.append((True, has[number], *(image[name] for name in IMAGE_COLUMNS)))
                regions += [tuple(part[name] for name in REGION_COLUMNS) for part in parts]
    return images, regions


def _stored(file: Any, group: int) -> list[bool]:
    """Which rows of a row group have a reference."""
    return file.read_row_group(group, columns=["reference"])["reference"].is_valid().to_pylist()


def _choose(files: list[Path], rows: int | None) -> set[str] | None:
    """The ids to decode, None for all: a fixed choice, whatever the order or number of the parts."""
    if rows is None:
        return None
    import pyarrow.parquet as pq

    names = {name or "" for file in files for name in pq.read_table(file, columns=["image_id"])["image_id"].to_pylist()}
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:rows])


def _row(
    row: dict[str, Any], data: bytes | None, original: Decoded | None, max_pixels: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measurements of one image and of its regions.

    `*_fault` is null or the reason in words; `changed` counts pixels that differ from the stored reference,
    `changed_outside` those outside the masks of local distortions (null if a distortion covers the whole image, and for
    images of other people);
    `digest` names the stored bytes (null for an image of one colour: two of those are no leak).
    """
    cells: dict[str, Any] = dict.fromkeys(IMAGE_COLUMNS)
    image, cells["image_fault"], cells["image_mode"], (cells["image_width"], cells["image_height"]) = decode(data, max_pixels)
    if image is not None and not flat(image):
        cells["digest"] = hashlib.sha256(data or b"").hexdigest()[:32]
    reference = None
    if original is not None:
        reference, cells["reference_fault"], cells["reference_mode"], size = original
        cells["reference_width"], cells["reference_height"] = size
    differs = None
    if image is not None and reference is not None and image.shape == reference.shape:
        differs = _differing(image, reference)
        cells["changed"] = int(differs.sum())

    regions, masks = [], {}
    local = {item["region_id"] for item in row["distortions"] or () if item}
    for region in row["regions"] or ():
        region = region or {}
        runs, measured = _region(region, row, max_pixels)
        name = region.get("region_id")
        if differs is not None and runs is not None and name in local and differs.shape == (row["height"], row["width"]):
            masks[name] = painted(runs, row["height"], row["width"])
            measured["changed_inside"] = int((differs & masks[name]).sum())
        regions.append(measured)
    ours = row["origin"] not in ORIGINS[1:]  # of other people's images nobody knows all that differs from a reference
    if ours and differs is not None and None not in local and local <= masks.keys():
        outside = differs
        for name in local:
            outside = outside & ~masks[name]
        cells["changed_outside"] = int(outside.sum())
    return cells, regions


def _differing(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Pixels (H, W) bool in which two images differ in some channel."""
    import cv2
    import numpy as np

    red, green, blue = cv2.split(cv2.bitwise_xor(image, reference))
    return np.not_equal(cv2.bitwise_or(cv2.bitwise_or(red, green), blue), 0)


def _region(region: dict[str, Any], row: dict[str, Any], max_pixels: int) -> tuple[np.ndarray | None, dict[str, Any]]:
    """The runs of the mask, and how far the region's `area` (in pixels) and `box_xyxy` (largest side, pixels) are from it."""
    cells: dict[str, Any] = dict.fromkeys(REGION_COLUMNS)
    runs, cells["mask_fault"] = mask_runs(region.get("mask_rle"), row["height"], row["width"], max_pixels)
    if runs is None:
        return None, cells
    inside, bounds = extent(runs, row["height"])
    if region.get("area") is not None:
        cells["area_error"] = abs(float(region["area"]) * row["height"] * row["width"] - inside)
    box = region.get("box_xyxy") or []
    if len(box) == 4 and None not in box:
        cells["box_error"] = max(abs(float(a) - float(b)) for a, b in zip(box, bounds, strict=True))
    return runs, cells

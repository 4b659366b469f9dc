"""The pixel pass: decode every image, reference and mask and measure what the tables claim about them.

Great Expectations cannot look at pixels, so this pass turns them into plain columns (`image_fault`,
`changed_outside`, `box_error`, ...) that the suites then judge. It never raises on bad data: a fault is a value.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FORMATS = ("PNG", "JPEG")  # lossless, or the very bytes of a compression distortion
NEEDED = ["image_id", "width", "height", "image", "reference", "distortions", "regions"]
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
)
WORDS = ("image_fault", "image_mode", "reference_fault", "reference_mode", "mask_fault", "decoded", "has_reference")
REGION_COLUMNS = ("mask_fault", "area_error", "box_error", "changed_inside")


def measure(files: Iterable[Path], max_pixels: int, rows: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measurements for every row of the `images` parts in `files`, and for every region, in table order.

    `rows` limits how many images are decoded (chosen by the hash of their id); the others get nulls and
    `decoded` False. Columns: see `_image` and `_region`.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    files = list(files)
    chosen = _choose(files, rows)
    images: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for file in files:
        table = pq.read_table(file, columns=NEEDED)
        stored = table["reference"].is_valid().to_pylist()
        names = table["image_id"].to_pylist()
        for number, name in enumerate(names):
            if chosen is None or name in chosen:
                row = table.slice(number, 1).to_pylist()[0]
                image, parts = _row(row, max_pixels)
            else:
                count = len(table["regions"][number].as_py() or ())
                image, parts = dict.fromkeys(IMAGE_COLUMNS), [dict.fromkeys(REGION_COLUMNS)] * count
            images.append({"decoded": chosen is None or name in chosen, "has_reference": stored[number], **image})
            regions.extend(parts)
    measured = (
        pd.DataFrame(images, columns=["decoded", "has_reference", *IMAGE_COLUMNS]),
        pd.DataFrame(regions, columns=list(REGION_COLUMNS)),
    )
    for frame in measured:
        for column in frame.columns.difference(WORDS):  # a column of nulls alone must still be one of numbers
            frame[column] = pd.to_numeric(frame[column])
    return measured


def _choose(files: list[Path], rows: int | None) -> set[str] | None:
    """The ids to decode, None for all: a fixed choice, whatever the order or number of the parts."""
    if rows is None:
        return None
    import pyarrow.parquet as pq

    names = {name or "" for file in files for name in pq.read_table(file, columns=["image_id"])["image_id"].to_pylist()}
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:rows])


def _row(row: dict[str, Any], max_pixels: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Measurements of one image and of its regions.

    `*_fault` is null or the reason in words; `changed` counts pixels that differ from the stored reference,
    `changed_outside` those outside the masks of local distortions (null if a distortion covers the whole image).
    """
    import numpy as np

    cells: dict[str, Any] = dict.fromkeys(IMAGE_COLUMNS)
    image, cells["image_fault"], cells["image_mode"], size = decode(row["image"], max_pixels)
    cells["image_width"], cells["image_height"] = size
    reference = None
    if row["reference"] is not None:
        reference, cells["reference_fault"], cells["reference_mode"], size = decode(row["reference"], max_pixels)
        cells["reference_width"], cells["reference_height"] = size
    differs = None
    if image is not None and reference is not None and image.shape == reference.shape:
        red, green, blue = np.moveaxis(image != reference, -1, 0)
        differs = red | green | blue  # six times faster than `any` over three values
        cells["changed"] = int(differs.sum())

    regions, masks = [], {}
    local = {item["region_id"] for item in row["distortions"] or () if item}
    for region in row["regions"] or ():
        mask, measured = _region(region or {}, row, max_pixels)
        if differs is not None and mask is not None and mask.shape == differs.shape:
            masks[(region or {}).get("region_id")] = mask
            if (region or {}).get("region_id") in local:
                measured["changed_inside"] = int(differs[mask].sum())
        regions.append(measured)
    if differs is not None and None not in local and local <= masks.keys():
        outside = differs.copy()
        for name in local:
            outside &= ~masks[name]
        cells["changed_outside"] = int(outside.sum())
    return cells, regions


def _region(region: dict[str, Any], row: dict[str, Any], max_pixels: int) -> tuple[np.ndarray | None, dict[str, Any]]:
    """The mask and how far the region's `area` (in pixels) and `box_xyxy` (largest side, pixels) are from it."""
    import numpy as np

    cells: dict[str, Any] = dict.fromkeys(REGION_COLUMNS)
    mask, cells["mask_fault"] = decode_mask(region.get("mask_rle"), row["height"], row["width"], max_pixels)
    if mask is None:
        return None, cells
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if region.get("area") is not None:
        cells["area_error"] = abs(float(region["area"]) * mask.size - int(mask.sum()))
    box = region.get("box_xyxy") or []
    if len(box) == 4 and None not in box:
        bounds = (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1)
        cells["box_error"] = max(abs(float(a) - float(b)) for a, b in zip(box, bounds, strict=True))
    return mask, cells


@lru_cache(maxsize=3)  # neighbours often share a reference
def decode(data: bytes | None, max_pixels: int) -> tuple[np.ndarray | None, str | None, str | None, tuple[Any, Any]]:
    """Pixels uint8 RGB (H, W, 3) or None, the fault in words or None, the mode, and (width, height).

    Stricter than decoding a photograph: nothing is converted, so what is stored is what a model will see.
    """
    import numpy as np
    from PIL import Image

    if not data:
        return None, "no bytes are stored", None, (None, None)
    mode, size = None, (None, None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decompression-bomb warnings: our own limit is stricter
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                mode, size = image.mode, image.size
                if size[0] * size[1] > max_pixels:
                    return None, f"claims {size[0]}x{size[1]} pixels, above the limit of {max_pixels}", mode, size
                image.load()  # `verify` accepts a truncated file, a full load does not
                return (np.asarray(image) if mode == "RGB" else None), None, mode, size
    except Exception as error:  # decoders raise nearly anything on damaged input; the reason is kept
        reason = " ".join(str(error).split())
        if "cannot identify image" in reason:  # names an object's address, which differs from run to run
            reason = f"not a readable {' or '.join(FORMATS)} file"
        return None, f"cannot be decoded ({reason[:120]})", mode, size


def decode_mask(
    rle: dict[str, Any] | None, height: Any, width: Any, max_pixels: int
) -> tuple[np.ndarray | None, str | None]:
    """A COCO RLE as bool (H, W), or None and the fault in words. Nothing is allocated before the size is right."""
    import numpy as np

    size, counts = (rle or {}).get("size"), (rle or {}).get("counts")
    if not size or counts is None or len(size) != 2 or None in size:
        return None, "no mask is stored"
    if list(size) != [height, width]:
        return None, f"mask is {size[1]}x{size[0]} px, the image {width}x{height}"
    if not 0 < height * width <= max_pixels:
        return None, f"mask claims {height * width} pixels, the limit is {max_pixels}"
    runs = _runs(counts)
    # pycocotools reads memory it never wrote when the runs are too short: they must cover the image exactly
    if runs is None or runs.min() < 0 or runs.sum() != height * width:
        return None, "mask is not a valid run-length code"
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
    return (mask, None) if mask.any() else (None, "mask is empty")


def _runs(counts: str) -> np.ndarray | None:
    """Run lengths of COCO's compressed string: 5 bits per character, each run but the first three given as its
    difference from the one before the last. None if the string is not such a code."""
    import numpy as np

    bits = np.frombuffer(counts.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    if not len(bits) or bits.min() < 0 or bits.max() > 63 or bits[-1] & 0x20:
        return None
    ends = np.flatnonzero(~bits & 0x20)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 8:  # more bits than any image has pixels
        return None
    shifts = 5 * (np.arange(len(bits)) - np.repeat(starts, lengths))
    values = np.add.reduceat((bits & 0x1F) << shifts, starts)
    runs = values - np.where(bits[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs

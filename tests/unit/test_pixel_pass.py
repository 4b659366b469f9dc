"""The pixel pass over Parquet parts: what it measures, whatever the number of workers, and damage that hides from decoders."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pandas as pd
import pytest

from iqaflow.data import decoding, masks, tables
from iqaflow.data.images import encode_png
from iqaflow.validate.checks import pixels

LIMIT = 1_000_000
NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def image_row(number: int, **changes) -> dict:
    """A row with a local distortion that changes two pixels inside its mask and none outside."""
    mask = np.zeros((40, 60), bool)
    mask[5:25, 10:30] = True
    image = NOISE.copy()
    image[0, 0, 0] = number  # pictures differ; so do references
    reference = image.copy()
    image[6, 12] ^= 255
    image[7, 13, 2] ^= 1
    region = {
        "region_id": 3,
        "label": "region",
        "box_xyxy": [10, 5, 30, 25],
        "mask_rle": masks.encode_mask(mask),
        "area": float(mask.mean()),
        "score": 0.5,
    }
    row = {
        "image_id": f"i{number:03d}",
        "split": "train",
        "width": 60,
        "height": 40,
        "image": encode_png(image),
        "reference": encode_png(reference),
        "regions": [region],
        "distortions": [
            {"name": "pixelate", "category": "pixelate", "level": 1.0, "severity": "slight", "order": 0, "region_id": 3}
        ],
    }
    return {**dict.fromkeys(tables.images_schema().names), **row, **changes}


def measured(folder, rows, parts=2, only=None, workers=1) -> tuple[pd.DataFrame, pd.DataFrame]:
    size = -(-len(rows) // parts)
    for part in range(parts):
        tables.write_table(
            folder / "images" / f"part-{part:05d}.parquet", rows[part * size : (part + 1) * size], tables.images_schema()
        )
    return pixels.measure(tables.parts(folder, "images"), LIMIT, only, workers)


def test_what_is_measured(tmp_path):
    flat = encode_png(np.full((40, 60, 3), 9, np.uint8))
    rows = [
        image_row(0),
        image_row(1, reference=None),
        image_row(2, image=flat, reference=flat, distortions=[], regions=[]),
        image_row(3, regions=None, distortions=None),
    ]
    images, regions = measured(tmp_path, rows)
    assert images["changed"].tolist()[::2] == [2, 0] and np.isnan(images["changed"][1])
    assert images["changed_outside"].tolist()[::2] == [0, 0] and images["changed_outside"][3] == 2
    assert images["has_reference"].tolist() == [True, False, True, True] and images["decoded"].all()
    assert regions["changed_inside"].tolist()[0] == 2 and (regions[["area_error", "box_error"]] < 1e-4).all().all()
    assert images["digest"].notna().tolist() == [True, True, False, True]  # one colour: two of those are no leak
    assert len(regions) == 2 and regions["mask_fault"].isna().all()


def test_some_rows_only(tmp_path):
    images, regions = measured(tmp_path, [image_row(number) for number in range(40)], only=5)
    assert images["decoded"].sum() == 5 == images["changed"].notna().sum() and len(regions) == 40
    assert images["has_reference"].all()


def test_the_number_of_workers_changes_nothing(tmp_path, monkeypatch):
    rows = [image_row(number) for number in range(24)]
    one = measured(tmp_path / "one", rows, parts=3)
    monkeypatch.setattr(pixels, "SHARED", 1)
    for a, b in zip(one, measured(tmp_path / "two", rows, parts=3, workers=2), strict=True):
        pd.testing.assert_frame_equal(a, b)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(stream: bytes, *more: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 40, 8, 2, 0, 0, 0))
    return b"".join([decoding.SIGNATURE, head, *more, chunk(b"IDAT", stream), chunk(b"IEND", b"")])


RAW = b"".join(b"\0" + line.tobytes() for line in NOISE)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("half of the lines", png(zlib.compress(RAW[: len(RAW) // 2]))),  # Pillow takes it, and paints the rest black
        ("stream cut short", png(zlib.compress(RAW)[:3000])),
        ("no stream", png(b"garbage" * 50)),
        ("wrong sum of a chunk", png(zlib.compress(RAW))[:-20] + b"\1" + png(zlib.compress(RAW))[-19:]),
        ("no end", png(zlib.compress(RAW))[:-12]),
    ],
)
def test_damage_that_hides(name, data):
    image, fault, _, size = decoding.decode(data, LIMIT)
    assert image is None and "cannot be decoded" in fault and size == (60, 40)


def test_whole_pictures_are_read_as_pillow_reads_them():
    for data in (png(zlib.compress(RAW)), png(zlib.compress(RAW), chunk(b"tEXt", b"a\0b")), encode_png(NOISE)):
        image, fault, mode, size = decoding.decode(data, LIMIT)
        assert fault is None and mode == "RGB" and size == (60, 40) and np.array_equal(image, NOISE)


@pytest.mark.parametrize("seed", range(20))
def test_area_and_box_come_from_the_runs_alone(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    mask = rng.random((height, width)) < rng.choice([0.01, 0.3, 0.9, 1.0])
    mask[rng.integers(height), rng.integers(width)] = True
    runs, fault = masks.mask_runs(masks.encode_mask(mask), height, width, LIMIT)
    ys, xs = np.nonzero(mask)
    assert fault is None
    assert masks.extent(runs, height) == (mask.sum(), (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))

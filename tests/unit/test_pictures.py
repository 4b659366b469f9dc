"""Pictures are read one at a time, and are the ones that were written."""

from __future__ import annotations

import pytest

from iqaflow.data import tables
from iqaflow.data.pictures import OPEN_FILES, Pictures
from iqaflow.ops.files import DamagedError


def test_every_picture_is_its_own(annotated) -> None:
    folder = annotated / "data" / "annotated"
    pictures = Pictures(folder, "train", ["score"])
    rows = list(tables.read_rows(folder, "images", "train"))
    assert set(pictures.rows) == {row["image_id"] for row in rows} and "image" not in pictures.rows[rows[0]["image_id"]]
    for row in reversed(rows):
        assert pictures.read(row["image_id"]) == row["image"]
        if row["reference"]:
            assert pictures.read(row["image_id"], "reference") == row["reference"]


def test_many_parts_and_row_groups(tmp_path) -> None:
    """More parts than files are kept open, more rows than a row group holds."""
    schema = tables.images_schema()
    for part in range(OPEN_FILES + 3):
        rows = [{"image_id": f"{part}-{number}", "split": "test" if number % 2 else "train",
                 "image": f"bytes of {part}-{number}".encode()} for number in range(tables.ROW_GROUP * 2 + 3)]
        tables.write_table(tmp_path / "images" / f"part-{part:05d}.parquet", rows, schema)
    pictures = Pictures(tmp_path, "test", [])
    for part in (0, OPEN_FILES + 2, 1, 0):
        for number in (1, tables.ROW_GROUP + 1, tables.ROW_GROUP * 2 + 1):
            assert pictures.read(f"{part}-{number}") == f"bytes of {part}-{number}".encode()
    assert "0-0" not in pictures.rows
    with pytest.raises(DamagedError, match="has no reference of 0-1"):
        pictures.read("0-1", "reference")

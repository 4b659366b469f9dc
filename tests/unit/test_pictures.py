"""Pictures are read one at a time, and are the ones that were written."""

from __future__ import annotations

import pytest

from iqaflow.core.errors import DamagedError
from iqaflow.data import tables
from iqaflow.data.image_store import OPEN_FILES, Pictures


def test_every_picture_is_its_own(annotated) -> None:
    folder = annotated / "data" / "annotated"
    pictures = Pictures(folder, "train", ["score"])
    rows = list(tables.read_rows(folder, "images", "train"))
    assert list(pictures) == [row["image_id"] for row in rows]
    assert all(pictures.row(row["image_id"]) == {"image_id": row["image_id"], "score": row["score"]} for row in rows)
    for row in reversed(rows):
        assert pictures.read(row["image_id"]) == row["image"]
        if row["reference"]:
            assert pictures.read(row["image_id"], "reference") == row["reference"]


def test_many_parts_and_row_groups(tmp_path) -> None:
    """More parts than files are kept open, more rows than a row group holds."""
    schema = tables.images_schema()
    for part in range(OPEN_FILES + 3):
        rows = [
            {
                "image_id": f"{part}-{number}",
                "split": "test" if number % 2 else "train",
                "image": f"bytes of {part}-{number}".encode(),
            }
            for number in range(tables.ROW_GROUP * 2 + 3)
        ]
        tables.write_table(tmp_path / "images" / f"part-{part:05d}.parquet", rows, schema)
    pictures = Pictures(tmp_path, "test", [])
    for part in (0, OPEN_FILES + 2, 1, 0):
        for number in (1, tables.ROW_GROUP + 1, tables.ROW_GROUP * 2 + 1):
            assert pictures.read(f"{part}-{number}") == f"bytes of {part}-{number}".encode()
    assert "0-0" not in pictures
    with pytest.raises(DamagedError, match="has no reference of 0-1"):
        pictures.read("0-1", "reference")


def test_rows_held_as_arrow_are_the_rows(annotated) -> None:
    from iqaflow.data.arrow_rows import Held

    folder = annotated / "data" / "annotated"
    rows = list(tables.read_rows(folder, "conversations", "train", ["task", "turns", "targets"]))
    held = Held(folder, "conversations", "train", ["task", "turns", "targets.region_ids"])
    wanted = [{"task": row["task"], "turns": row["turns"], "region_ids": row["targets"]["region_ids"]} for row in rows]
    assert len(held) == len(rows) and list(held.column("task")) == [row["task"] for row in rows]
    assert held.rows(range(len(rows))) == wanted and held[len(rows) - 1] == wanted[-1]
    chosen = range(1, len(rows), 7)  # across parts
    assert held.rows(chosen) == [wanted[number] for number in chosen]

"""The two tables of an annotated data set, `images` and `conversations`, and how they are read and written.

`data/annotated/` = `images/part-*.parquet`, `conversations/part-*.parquet`, `manifest.json`. Loads with
`datasets.load_dataset("parquet", data_files=...)` too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.core.files import explain_full_disk

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from iqaflow.data.rows import Split

ROW_GROUP = 16  # pictures read together
SPLITS: tuple[Split, ...] = ("train", "calibration", "test")
# where a row comes from: distortions of our own, people's region labels, people's descriptions grounded by a detector,
# or somebody's instruction data as it is
ORIGINS = ("synthetic", "authentic", "grounded", "imported")


def images_schema() -> pa.Schema:
    """One row per annotated image; only synthetic ones must have a reference and a score.

    Boxes are pixels (x0, y0, x1, y1), right and bottom exclusive; masks are COCO RLE.
    """
    import pyarrow as pa

    rle = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    distortion = pa.struct(
        [
            ("name", pa.string()),
            ("category", pa.string()),
            ("level", pa.float32()),
            ("severity", pa.string()),
            ("order", pa.int32()),
            ("region_id", pa.int32()),  # region_id null: the whole image
        ]
    )
    region = pa.struct(
        [
            ("region_id", pa.int32()),
            ("label", pa.string()),
            ("box_xyxy", pa.list_(pa.float32())),
            ("mask_rle", rle),
            ("area", pa.float32()),
            ("score", pa.float32()),  # area: share of the image; score 0..1
        ]
    )
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("origin", pa.string()),
            ("dataset", pa.string()),
            ("source_id", pa.string()),
            ("source_sha256", pa.string()),
            ("source_origin", pa.string()),
            ("license", pa.string()),
            ("split", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("image", pa.binary()),
            ("reference", pa.binary()),
            ("distortions", pa.list_(distortion)),
            ("regions", pa.list_(region)),
            ("score", pa.float32()),
            ("score_std", pa.float32()),  # of the opinions behind a human score, on the same 0..1
            ("score_source", pa.string()),
            ("phash", pa.string()),
            ("pipeline_version", pa.string()),
            ("seed", pa.int64()),
        ]
    )


def conversations_schema() -> pa.Schema:
    """One row per question and answer. `image_ids` name rows of `images` with the role each plays in the prompt."""
    import pyarrow as pa

    return pa.schema(
        [
            ("conversation_id", pa.string()),
            ("origin", pa.string()),
            ("dataset", pa.string()),
            ("image_ids", pa.list_(pa.struct([("role", pa.string()), ("image_id", pa.string())]))),
            ("task", pa.string()),
            ("style", pa.string()),
            ("reference_mode", pa.string()),
            ("turns", pa.list_(pa.struct([("role", pa.string()), ("text", pa.string())]))),
            ("answer_spans", pa.list_(pa.list_(pa.int32()))),  # [start, end) characters of the label words in the answer
            (
                "targets",
                pa.struct(
                    [
                        ("categories", pa.list_(pa.string())),
                        ("levels", pa.list_(pa.float32())),
                        ("region_ids", pa.list_(pa.int32())),
                        ("boxes_cells", pa.list_(pa.list_(pa.int32()))),
                        ("better", pa.string()),
                        ("kind", pa.string()),  # kind: the sub-task, such as worst or best_blur
                    ]
                ),
            ),
            ("teacher", pa.string()),
            ("teacher_confidence", pa.float32()),
            ("split", pa.string()),
        ]
    )


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as one Parquet file; equal rows give equal bytes. The caller commits the directory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(path):
        # pictures are compressed already, and short row groups let a reader take one (data/image_store.py)
        pictures = "image" in schema.names
        packed = {leaf: "none" if leaf in ("image", "reference") else "zstd" for leaf in _leaves(schema)}
        pq.write_table(
            pa.Table.from_pylist(list(rows), schema=schema),
            path,
            compression=packed,
            use_dictionary=False,
            write_statistics=False,
            row_group_size=ROW_GROUP if pictures else None,
        )


def _leaves(schema: pa.Schema) -> list[str]:
    """The dotted names Parquet gives the columns of a nested schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    stored = pq.read_metadata(pa.BufferReader(empty.getvalue())).schema
    return [stored.column(index).path for index in range(len(stored))]


def parts(folder: Path, table: str) -> list[Path]:
    return sorted((folder / table).glob("part-*.parquet"))


def read_frame(folder: Path, table: str, columns: list[str] | None = None, split: str | None = None) -> pd.DataFrame:
    """A table as a pandas frame; nested values stay dicts and arrays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    filters = [("split", "=", split)] if split else None
    tables = [pq.read_table(path, columns=columns, filters=filters) for path in parts(folder, table)]
    if not tables:
        raise FileNotFoundError(f"{folder} holds no {table} table: run `iqaflow annotate` first.")
    return pa.concat_tables(tables).to_pandas()


def read_rows(
    folder: Path, table: str, split: str | None = None, columns: list[str] | None = None, origin: str | None = None
) -> Iterator[dict[str, Any]]:
    """A table row by row as plain dicts, one part in memory at a time."""
    import pyarrow.parquet as pq

    filters = [(name, "=", value) for name, value in (("split", split), ("origin", origin)) if value] or None
    for path in parts(folder, table):
        yield from pq.read_table(path, columns=columns, filters=filters).to_pylist()

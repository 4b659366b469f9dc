"""A folder that `datasets.load_dataset(OUT)` opens, and the Hugging Face hub shows: Parquet shards of both tables.

Pictures are `{bytes, path}` columns declared as images in the file's metadata, as the library itself writes them; the library
is not needed here. Bytes are those of the annotated data set: lossless, or the very JPEG where JPEG is the distortion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.data import tables
from iqaflow.data.export import Part, Source
from iqaflow.data.images import suffix

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_BYTES = 400_000_000
PICTURES = ("image", "reference")
ROWS = {"images": tables.ROW_GROUP, "conversations": 10_000}  # read and written together


def write(source: Source, folder: Path) -> list[Part]:
    """`images/SPLIT-00000-of-00001.parquet` and `conversations/...`, in the order of the annotated data set."""
    return [Part(table, {split: f"{table}/{split}-*.parquet" for split in tables.SPLITS
                         if _shards(source.folder, table, split, folder / table)})
            for table in ("images", "conversations")]


def _shards(annotated: Path, table: str, split: str, folder: Path) -> int:
    """The rows of a split as files of about SHARD_BYTES; how many files."""
    import pyarrow.parquet as pq

    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    writer, size = None, 0
    try:
        for rows in _batches(annotated, table, split):
            if writer is None or size > SHARD_BYTES:
                if writer:
                    writer.close()
                paths.append(folder / f".{split}-{len(paths):05d}")
                writer, size = pq.ParquetWriter(paths[-1], rows.schema, compression="zstd", use_dictionary=False,
                                                write_statistics=False), 0
            writer.write_table(rows)
            size += rows.nbytes
    finally:
        if writer:
            writer.close()
    for number, path in enumerate(paths):
        path.rename(folder / f"{split}-{number:05d}-of-{len(paths):05d}.parquet")
    return len(paths)


def _batches(annotated: Path, table: str, split: str) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in tables.parts(annotated, table):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS[table]):
            rows = pa.Table.from_batches([batch])
            rows = rows.filter(pc.equal(rows["split"], split))
            if rows.num_rows:
                yield _shown(rows) if table == "images" else rows


def _shown(rows: pa.Table) -> pa.Table:
    """Rows of `images` whose pictures are images to `datasets`."""
    import pyarrow as pa

    names = rows["image_id"].to_pylist()
    for column in PICTURES:
        data = rows[column].combine_chunks()
        added = "" if column == "image" else f".{column}"
        paths = [None if not one.is_valid else f"{name}{added}{suffix(one.as_buffer())}"
                 for name, one in zip(names, data, strict=True)]
        pictures = pa.StructArray.from_arrays([data, pa.array(paths, pa.string())], ["bytes", "path"], mask=data.is_null())
        rows = rows.set_column(rows.schema.get_field_index(column), column, pictures)
    features = {column: {"_type": "Image"} for column in PICTURES}
    return rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})

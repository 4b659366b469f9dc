"""The two nested tables as flat frames that Great Expectations can judge: one row per thing a person would name.

`IDS` says which columns name a row of each frame; the suites (suites.py) say what must hold in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.data.tables import SPLITS, conversations_schema, images_schema, parts
from iqaflow.ops.files import DamagedError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

IDS = {
    "tables": ("table",),
    "columns": ("part", "name"),
    "splits": ("split",),
    "photographs": ("source_id",),
    "images": ("image_id",),
    "distortions": ("image_id", "item"),
    "regions": ("image_id", "region_id"),
    "conversations": ("conversation_id",),
    "turns": ("conversation_id", "turn"),
    "conversation_images": ("conversation_id", "image_id"),
    "answer_spans": ("conversation_id", "span"),
    "target_categories": ("conversation_id", "category"),
    "target_levels": ("conversation_id", "item"),
    "target_regions": ("conversation_id", "region_id"),
    "target_boxes": ("conversation_id", "box"),
    "categories": ("category",),
}
FLAW = ("name", "category", "level", "severity", "order", "region_id")
AREA = ("region_id", "label", "area", "score")
CORNERS = ("x0", "y0", "x1", "y1")


def columns(folder: Path) -> pd.DataFrame:
    """One row per part file and column: the type `found` and the type `expected`.

    Raises DamagedError if a part is not a Parquet file.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for table, schema in (("images", images_schema()), ("conversations", conversations_schema())):
        expected = dict(zip(schema.names, schema.types, strict=True))
        for path in parts(folder, table):
            try:
                stored = pq.read_schema(path)
            except (OSError, pa.ArrowInvalid):
                raise DamagedError(f"{path} is not a readable Parquet file: run `iqaflow annotate` again.") from None
            types = dict(zip(stored.names, stored.types, strict=True))
            for name in dict.fromkeys((*expected, *types)):
                same = name in expected and name in types and types[name].equals(expected[name])
                want = str(expected.get(name, "no such column"))
                found.append((f"{table}/{path.name}", name, want if same else str(types.get(name, "missing")), want))
    return pd.DataFrame(found, columns=["part", "name", "found", "expected"])


def tables(folder: Path) -> pd.DataFrame:
    """One row per table: how many `rows` it has."""
    import pyarrow.parquet as pq

    return frame([(table, sum(pq.read_metadata(path).num_rows for path in parts(folder, table)))
                  for table in ("images", "conversations")], ("table", "rows"))


def images(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Frames `images` (without bytes), `distortions` and `regions`, the last two one row per nested item."""
    from iqaflow import distortions

    category_of = {name: distortions.category_of(name) for name in distortions.names()}
    table = read(folder, "images", [name for name in images_schema().names if name not in ("image", "reference")])
    flaws: list[tuple[Any, ...]] = []
    areas: list[tuple[Any, ...]] = []
    for row, (image_id, width, height, applied, found) in enumerate(
        rows(table, "image_id", "width", "height", "distortions", "regions")
    ):
        known = {region.get("region_id") for region in found}
        for item, flaw in enumerate(applied):
            region = flaw.get("region_id")
            flaws.append((row, image_id, item, *(flaw.get(key) for key in FLAW), region is None or region in known,
                          category_of.get(flaw.get("name"))))
        for region in found:
            box = region.get("box_xyxy") or []
            corners = box if len(box) == 4 else [None] * 4
            areas.append((row, image_id, *(region.get(key) for key in AREA), len(box), *corners, width, height))
    flat_flaws = frame(flaws, ("row_of_image", "image_id", "item", *FLAW, "region_known", "category_of_name"),
                       ("level", "order", "region_id"))
    flat_areas = frame(areas, ("row_of_image", "image_id", *AREA, "box_numbers", *CORNERS, "width", "height"),
                       ("region_id", "area", "score", *CORNERS))
    flat = table.drop_columns(["distortions", "regions"]).to_pandas()
    # whether distortions cover the whole image, lie inside regions, or there are none
    whole = set(flat_flaws.loc[flat_flaws["region_id"].isna(), "row_of_image"])
    local = set(flat_flaws["row_of_image"]) - whole
    flat["extent"] = ["global" if row in whole else "local" if row in local else "clean" for row in range(len(flat))]
    return flat, flat_flaws, flat_areas


def splits(images: pd.DataFrame, conversations: pd.DataFrame) -> pd.DataFrame:
    """One row per split: photographs, images, conversations."""
    counts = [
        (split, int(images.loc[images["split"] == split, "source_id"].nunique()), int((images["split"] == split).sum()),
         int((conversations["split"] == split).sum()))
        for split in SPLITS
    ]
    return frame(counts, ("split", "photographs", "images", "conversations"))


def categories(images: pd.DataFrame, distortions: pd.DataFrame) -> pd.DataFrame:
    """One row per category, then `none`: how many images of each split show it."""
    from iqaflow import distortions as known

    shown = distortions.assign(split=distortions["row_of_image"].map(images["split"]))
    counts = []
    for category in known.categories():
        by_split = shown[shown["category"] == category].groupby("split")["row_of_image"].nunique()
        counts.append((category, *(int(by_split.get(split, 0)) for split in SPLITS)))
    clean = images.loc[images["extent"] == "clean", "split"].value_counts()
    counts.append(("none", *(int(clean.get(split, 0)) for split in SPLITS)))
    return frame(counts, ("category", *SPLITS))


def read(folder: Path, table: str, names: list[str]) -> pa.Table:
    """Some columns of a whole table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(path, columns=names) for path in parts(folder, table)])


def rows(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    """Columns of a table row by row. Nulls among nested rows become empty dicts: a missing value is a finding."""
    import pyarrow as pa

    columns = []
    for name in names:
        values = table[name].to_pylist()
        kind = table.schema.field(name).type
        if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
            values = [[item or {} for item in value or ()] for value in values]
        columns.append(values)
    return zip(*columns, strict=True)


def frame(values: list[tuple[Any, ...]], names: Sequence[str], numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Tuples as a frame; columns in `numbers` are numeric even where all values are null."""
    import pandas as pd

    made = pd.DataFrame(values, columns=list(names))
    for name in numbers:
        made[name] = pd.to_numeric(made[name])
    return made

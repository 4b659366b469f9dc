"""The images table as flat frames that Great Expectations can judge: one row per thing a person would name.

`IDS` says which columns name a row of each frame; the suites say what must hold in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from iqaflow.core.errors import DamagedError
from iqaflow.data import text_hygiene
from iqaflow.data.tables import SPLITS, conversations_schema, images_schema, parts
from iqaflow.validate.checks import flatten, presence

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
    "categories": ("split", "category"),
    "choices": ("split", "choice"),
    "phrases": ("task",),
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

    rows = []
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
                rows.append((f"{table}/{path.name}", name, want if same else str(types.get(name, "missing")), want))
    return pd.DataFrame(rows, columns=["part", "name", "found", "expected"])


def tables(folder: Path) -> pd.DataFrame:
    """One row per table: how many `rows` it has."""
    import pandas as pd
    import pyarrow.parquet as pq

    names = ("images", "conversations")
    return pd.DataFrame(
        {"table": names, "rows": [sum(pq.read_metadata(path).num_rows for path in parts(folder, name)) for name in names]}
    )


def images(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Frames `images` (without bytes), `distortions` and `regions`, the last two one row per nested item."""
    table = read(folder, "images", [name for name in images_schema().names if name not in ("image", "reference")])
    flat = table.drop_columns(["distortions", "regions"]).to_pandas()
    flat["missing"] = presence.missing(flat, "images")
    # our own images are the data set `synthetic`, and nobody else's are
    flat["dataset_fits"] = (flat["origin"] == "synthetic").to_numpy(bool) == (flat["dataset"] == "synthetic").to_numpy(bool)
    given, number = table["score"].is_valid().to_numpy(), flat["score"].notna().to_numpy()
    synthetic = (flat["origin"] == "synthetic").to_numpy(bool)  # whose missing scores have a check of their own
    flat["score_fault"] = flatten.first_fault(
        [given & ~number & ~synthetic, number & flat["score_source"].isna().to_numpy()],
        ["the score is not a number", "nothing says where the score comes from"],
    )
    flat["text_fault"] = None
    for name in ("license", "source_origin", "dataset", "source_id", "image_id"):
        faults = text_hygiene.faults(flatten.whole(table[name]), addresses=True)
        named = [f"{name}: {fault}" for fault in faults]
        flat["text_fault"] = np.where([fault is None for fault in faults], flat["text_fault"], named)
    areas = _areas(table)
    flaws = _flaws(table, areas)
    # whether distortions cover the whole image, lie inside regions, or there are none
    whole, local = np.zeros(len(flat), bool), np.zeros(len(flat), bool)
    local[flaws["row_of_image"]] = True
    whole[flaws.loc[flaws["region_id"].isna(), "row_of_image"]] = True
    flat["extent"] = np.select([whole, local], ["global", "local"], "clean")
    return flat, flaws, areas


def complete(images: pd.DataFrame) -> pd.DataFrame:
    """The images frame with what follows from it and from the pixel pass together."""
    synthetic = (images["origin"] == "synthetic").to_numpy(bool)
    images["reference_due"] = (
        synthetic & images["split"].isin(SPLITS[1:]).to_numpy(bool) & ~images["has_reference"].to_numpy(bool)
    )
    kept = images[images["digest"].notna()]
    other = kept[kept.groupby("digest")["split"].transform("nunique") > 1] if kept["digest"].duplicated().any() else kept[:0]
    images["twin"] = None
    for _, same in other.groupby("digest"):
        for row, split in same["split"].items():
            images.loc[row, "twin"] = same.loc[same["split"] != split, "image_id"].iloc[0]
    return images


def _flaws(table: pa.Table, areas: pd.DataFrame) -> pd.DataFrame:
    from iqaflow import distortions

    parents, values = flatten.items(table["distortions"])
    flaws = flatten.frame(
        {**_owner(table, parents), "item": flatten.numbered(parents), **{name: flatten.field(values, name) for name in FLAW}}
    )
    flaws["own_name"] = flaws["name"].where(flaws["origin"] == "synthetic")
    flaws["region_known"] = flaws["region_id"].isna() | np.isin(_key(flaws), _key(areas))
    flaws["category_of_name"] = flaws["name"].map({name: distortions.category_of(name) for name in distortions.names()})
    flaws["missing"] = presence.missing(flaws, "distortions")
    return flaws


def _areas(table: pa.Table) -> pd.DataFrame:
    import pyarrow as pa

    parents, values = flatten.items(table["regions"])
    box, take = flatten.field(values, "box_xyxy"), pa.array(parents)
    label = flatten.field(values, "label")
    areas = flatten.frame(
        {
            **_owner(table, parents),
            **{name: flatten.field(values, name) for name in AREA},
            "box_numbers": flatten.lengths(box),
            **{name: flatten.at(box, place, (4,)) for place, name in enumerate(CORNERS)},
            "width": table["width"].take(take),
            "height": table["height"].take(take),
        }
    )
    areas["label_fault"] = text_hygiene.faults(label)
    areas["missing"] = presence.missing(areas, "regions")
    return areas


def _owner(table: pa.Table, parents: np.ndarray) -> dict[str, object]:
    import pyarrow as pa

    take = pa.array(parents)
    return {"row_of_image": parents, **{name: table[name].take(take) for name in ("image_id", "origin")}}


def _key(frame: pd.DataFrame) -> np.ndarray:
    """A number for each (image row, region id); -1 where there is no id."""
    region = frame["region_id"].to_numpy(float)
    return np.where(np.isnan(region), -1, frame["row_of_image"].to_numpy() * 2.0**32 + np.nan_to_num(region))


def splits(images: pd.DataFrame, conversations: pd.DataFrame) -> pd.DataFrame:
    """One row per split: photographs, images, conversations."""
    import pandas as pd

    counts = [
        (
            split,
            int(images.loc[images["split"] == split, "source_id"].nunique()),
            int((images["split"] == split).sum()),
            int((conversations["split"] == split).sum()),
        )
        for split in SPLITS
    ]
    return pd.DataFrame(counts, columns=["split", "photographs", "images", "conversations"])


def read(folder: Path, table: str, names: list[str]) -> pa.Table:
    """Some columns of a whole table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(path, columns=names) for path in parts(folder, table)])

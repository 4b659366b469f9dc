"""A folder that `datasets.load_dataset(FOLDER, "images")` and `(FOLDER, "conversations")` load, pictures as pictures, with a
dataset card.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.data.tables import SPLITS, conversations_schema, images_schema, parts

if TYPE_CHECKING:
    import pyarrow as pa

PICTURES = ("image", "reference")


def write(annotated: Path, folder: Path, manifest: dict[str, Any]) -> dict[str, int]:
    """Both tables by split, one file per part, and README.md; one part in memory at a time."""
    import pyarrow.parquet as pq

    counts: dict[str, int] = {}
    seen: dict[str, Counter[str]] = {name: Counter() for name in ("task", "dataset", "license", "split")}
    for table, schema in (("images", images_schema()), ("conversations", conversations_schema())):
        counts[table] = 0
        numbers: Counter[str] = Counter()
        for path in parts(annotated, table):
            rows = pq.read_table(path)
            for split in SPLITS:
                chosen = rows.filter([name == split for name in rows["split"].to_pylist()])
                if not chosen.num_rows:
                    continue
                counts[table] += chosen.num_rows
                for name, counter in seen.items():
                    if name in chosen.column_names and (name != "split" or table == "images"):
                        counter.update(chosen[name].to_pylist())
                target = folder / table / f"{split}-{numbers[split]:05d}.parquet"
                numbers[split] += 1
                target.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(_described(chosen, schema), target, compression="zstd", use_dictionary=False, row_group_size=100)
    (folder / "README.md").write_text(card(counts, seen, manifest), encoding="utf-8")
    return counts


def _described(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with pictures as `{bytes, path}`, and a note in the file's metadata of what each column is."""
    import pyarrow as pa

    features: dict[str, Any] = {}
    for name in schema.names:
        if name in PICTURES:
            cells = [None if data is None else {"bytes": data, "path": None} for data in rows[name].to_pylist()]
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            rows = rows.set_column(rows.column_names.index(name), name, pa.array(cells, kind))
            features[name] = {"_type": "Image"}
        else:
            features[name] = _feature(schema.field(name).type)
    return rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> Any:
    """An Arrow type as `datasets` writes it."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {kind.field(at).name: _feature(kind.field(at).type) for at in range(kind.num_fields)}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32", "double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def card(counts: dict[str, int], seen: dict[str, Counter[str]], manifest: dict[str, Any]) -> str:
    """README.md: where the files are, how much there is of what, licences, where it comes from, what it is not."""
    configs = "".join(
        f"- config_name: {table}\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: {table}/{split}-*.parquet\n" for split in SPLITS if seen["split"][split])
        for table in ("images", "conversations")
    )
    licences = "\n".join(f"- {plain(name)}: {number} images" for name, number in seen["license"].most_common(30))
    tasks = "\n".join(f"| {task} | {number} |" for task, number in sorted(seen["task"].items()))
    sets = ", ".join(f"{plain(name)} {number}" for name, number in sorted(seen["dataset"].items()))
    splits = ", ".join(f"{split} {seen['split'][split]}" for split in SPLITS)
    return f"""---
license: other
task_categories: [image-text-to-text, visual-question-answering]
tags: [image-quality-assessment, iqaflow]
configs:
{configs}---
# Annotated images for explainable image quality assessment

{counts["images"]} images ({splits}) and {counts["conversations"]} questions with answers, made by iqaflow
{manifest["pipeline_version"]}. Rows of both configurations by data set: {sets}.

| task | questions |
|---|---|
{tasks}

`images` holds the pictures (`image`, and `reference` where a question shows it), the distortions with category, level and
order, exact region masks (COCO run lengths), boxes in pixels and full-reference scores from 0 to 1; `conversations` holds
questions and answers, which name their images by `image_id` and role. Splits share no photograph and no near-duplicate.

## Licences of the photographs
{licences}

## Where it comes from
Source `{plain(str(manifest["source"]))}`, seed {manifest["seed"]}, {sum(manifest["photographs"].values())} photographs; the same
parameters, photographs and version give the same bytes.

## Limits
Rows of origin `synthetic` have synthetic distortions; their scores are a full-reference metric's, not people's. Texts of
synthetic and authentic rows are made from templates. Check the licence of each photograph before you pass it on.
"""


def plain(text: str) -> str:
    """Text from the data as text: no markup, one line."""
    return " ".join("".join(char if char.isalnum() or char in " .,:;/()'+-_" else " " for char in str(text)).split())[:200]

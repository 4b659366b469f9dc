"""The items of the benchmark: every question with its truth, and every predictor's answer to it, as one table.

A predictor hands in answers (`item_id`, `family`, `prediction`, ...); the truth is joined here, from the data set and
the same for all, so no predictor can choose, skip or grade its own items. The table is `reports/items.parquet`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NotRequired, TypedDict

from iqaflow import tasks
from iqaflow.core.errors import StageError
from iqaflow.tasks.grading.items import Item

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MODEL: Final = "model"


class Answer(TypedDict):
    """What a predictor says to one item. `value` counts where the text earns no credit of its own; `predictor` names a variant
    among the model's own answers.
    """

    family: str
    item_id: str
    prediction: str
    value: NotRequired[float | None]
    confidence: NotRequired[float | None]
    hit: NotRequired[float | None]
    predictor: NotRequired[str]


class ItemRow(Item):
    """An item, a predictor's answer and what it earned: a row of `reports/items.parquet`, whose columns `schema` explains."""

    predictor: str
    prediction: str
    value: float | None
    confidence: float | None
    hit: float | None


def schema() -> pa.Schema:
    """Columns of the items table. `value` is what the family's main metric averages or correlates: credit 0..1
    (identify, refer, rate, vqa, describe), the predicted score, or the mask's IoU; `hit` is 1 if the predicted point
    lies in the true mask; `level` is the strongest distortion asked about (0: clean).
    """
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            ("predictor", text),
            ("family", text),
            ("cell", text),
            ("item_id", text),
            ("source_id", text),
            ("image_id", text),
            ("target", text),
            ("prediction", text),
            ("target_value", number),
            ("value", number),
            ("confidence", number),
            ("hit", number),
            ("level", number),
        ]
    )


def grade(predictor: str, items: list[Item], given: Iterable[Answer], complete: bool = False) -> list[ItemRow]:
    """Join a predictor's answers to the items of the same family and id, and give credit where the text decides.

    Answers need `family`, `item_id`, `prediction` and, where they apply, `value`, `confidence`, `hit`. Answers to
    unknown items raise StageError, and so do missing ones if `complete`.
    """
    by_key = {(item["family"], item["item_id"]): item for item in items}
    rows: dict[tuple[str, str], ItemRow] = {}
    for answer in given:
        key = (answer["family"], answer["item_id"])
        if key not in by_key or key in rows:
            what = "twice" if key in rows else "which the benchmark did not ask"
            raise StageError(f"The predictor {predictor!r} answered {key[0]} item {key[1]} {what}: fix the predictor.")
        rows[key] = _graded(predictor, by_key[key], answer)
    missing = sorted(by_key.keys() - rows.keys())
    if complete and missing:
        raise StageError(
            f"The predictor {predictor!r} left {len(missing)} of {len(by_key)} benchmark items unanswered, first "
            f"{missing[0][0]} item {missing[0][1]}: every item must be answered."
        )
    return list(rows.values())


def frame(rows: Iterable[ItemRow]) -> pd.DataFrame:
    """Rows as a frame in the order they are stored: the model, then other predictors by name; family; cell; id."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=schema().names)
    table["_model"] = table["predictor"] != MODEL
    table["_family"] = table["family"].map(tasks.benchmarked().index)
    table = table.sort_values(["_model", "predictor", "_family", "cell", "item_id"], kind="stable", ignore_index=True)
    numbers = ["target_value", "value", "confidence", "hit", "level"]
    return table[schema().names].astype(dict.fromkeys(numbers, float))


def file_bytes(table: pd.DataFrame) -> bytes:
    """The frame as Parquet; equal frames give equal bytes. Missing numbers are nulls."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    arrow = pa.Table.from_pandas(table, schema=schema(), preserve_index=False).replace_schema_metadata()
    pq.write_table(arrow, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read(path: Any) -> pd.DataFrame:
    """The items table of an earlier benchmark, as `frame` gives it."""
    import pyarrow.parquet as pq

    return pq.read_table(path, page_checksum_verification=True).to_pandas()


def _graded(predictor: str, item: Item, answer: Answer) -> ItemRow:
    text, value = str(answer.get("prediction") or ""), answer.get("value")
    if credit := tasks.find(item["family"]).credit:
        text, value = credit(item["target"], text)
    return {
        **item,
        "predictor": predictor,
        "prediction": text,
        "value": _rounded(value),
        "confidence": _rounded(answer.get("confidence")),
        "hit": _rounded(answer.get("hit")),
    }


def _rounded(number: float | None) -> float | None:
    """Six decimals: more than any metric shows, fewer than differ between two machines' arithmetic."""
    return None if number is None else round(float(number), 6)

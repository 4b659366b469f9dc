"""The bodies of requests and answers of the model server, as pydantic models: what OpenAPI shows, and all that is said of their
outer form. Cells hold whatever was sent: `iqaflow.serve.request` reads them, and says in one sentence what is wrong with one.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.exceptions import HTTPException

from iqaflow.serve.limits import MAX_PIECES, MAX_ROWS
from iqaflow.serve.request import COLUMNS, MAX_TEXT

ADVICE = 'send JSON such as {"dataframe_split": {"columns": ["image"], "data": [["BASE64"]]}}'
ADVICE_ALONE = 'send JSON such as {"image": "BASE64"}'
SHAPES = ("dataframe_records", "dataframe_split", "instances", "inputs")
EMPTY = "The table does not fit the model: Model is missing inputs ['image']."


def _cell(about: str, *forms: dict[str, Any]) -> Any:
    return WithJsonSchema({"anyOf": [*forms, {"type": "null"}], "description": about})


def _numbers(count: int) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "number"}, "minItems": count, "maxItems": count}


_BASE64: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
_BYTE = {"type": "integer", "minimum": 0, "maximum": 255}
_PIXELS = {"type": "array", "items": {"type": "array", "items": {**_numbers(3), "items": _BYTE}}}
_PLANE = {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}
_TEXT: dict[str, Any] = {"type": "string"}

Picture: TypeAlias = Annotated[Any, _cell("An image file in base64, a data URL too, or its pixels (H, W, 3).", _BASE64, _PIXELS)]
Mask: TypeAlias = Annotated[Any, _cell("White, or anything but 0 in (H, W), is the region.", _BASE64, _PLANE, _PIXELS)]
Box: TypeAlias = Annotated[Any, _cell("x0, y0, x1, y1 in pixels; text has commas.", _numbers(4), _TEXT)]
Point: TypeAlias = Annotated[Any, _cell("x, y in pixels; text has a comma.", _numbers(2), _TEXT)]
Words: TypeAlias = Annotated[Any, _cell("Free text.", {**_TEXT, "maxLength": MAX_TEXT})]


class AssessRequest(BaseModel):
    """One image, and what is asked about it."""

    model_config = ConfigDict(extra="forbid")

    image: Picture
    reference: Picture = None
    region: Box = None
    mask: Mask = None
    point: Point = None
    phrase: Words = None
    question: Words = None


class CompareRequest(BaseModel):
    """Two images, and perhaps their undistorted original."""

    model_config = ConfigDict(extra="forbid")

    image: Picture
    compare_with: Picture
    reference: Picture = None


class Row(BaseModel):
    """A row of a table: assessed, or compared if it has a `compare_with`. Columns of other names are ignored."""

    image: Picture = None
    reference: Picture = None
    compare_with: Picture = None
    region: Box = None
    mask: Mask = None
    point: Point = None
    phrase: Words = None
    question: Words = None


class Split(BaseModel):
    """A table as pandas' `to_dict("split")` gives it; the index is ignored."""

    columns: list[str] = []
    data: list[list[Any]]
    index: Any = None


class Table(BaseModel):
    """MLflow's scoring protocol: a table in one of four shapes; `inputs` may also be one row alone."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [shape]} for shape in SHAPES]})

    dataframe_records: list[Row] | None = None
    dataframe_split: Split | None = None
    instances: list[Row] | None = None
    inputs: list[Row] | Row | None = None

    def rows(self) -> list[dict[str, Any]]:
        """The cells of each row by column. HTTPException for no or several shapes, no `image` column, too few or many rows."""
        if len(shapes := self.model_fields_set & set(SHAPES)) != 1 or (table := getattr(self, *shapes)) is None:
            raise HTTPException(400, f"The request cannot be used: {ADVICE}.")
        if isinstance(table, Split):
            if len(set(table.columns)) < len(table.columns):
                raise HTTPException(400, "The table does not fit the model: two columns have the same name.")
            if any(len(row) != len(table.columns) for row in table.data if table.columns):
                raise HTTPException(400, f"The rows of `dataframe_split` must have as many cells as columns: {ADVICE}.")
            rows, columns = [dict(zip(table.columns, row, strict=False)) for row in table.data], set(table.columns)
        else:
            rows = [cells(row) for row in (table if isinstance(table, list) else [table])]
            columns = {column for row in rows for column in row}
        if "image" not in columns:
            raise HTTPException(400, EMPTY)
        if not 1 <= len(rows) <= MAX_ROWS:
            raise HTTPException(400, f"The request has {len(rows)} rows, it must have 1 to {MAX_ROWS}.")
        return rows


def cells(row: BaseModel) -> dict[str, Any]:
    """The cells that were sent, by column."""
    return {column: getattr(row, column) for column in COLUMNS if column in row.model_fields_set}


class RowError(BaseModel):
    """In place of the answer to a row that cannot be used, beside others that can."""

    schema_: Literal["iqaflow.assessment/1"] = Field(alias="schema")
    error: str


_ANSWERS = [{"$ref": f"#/components/schemas/{name}"} for name in ("Assessment", "Comparison")] + [RowError.model_json_schema()]
Text = Annotated[str, Field(json_schema_extra={"contentMediaType": "application/json", "contentSchema": {"anyOf": _ANSWERS}})]


class Predictions(BaseModel):
    """One JSON text per row."""

    predictions: list[Text]


class Refusal(BaseModel):
    """What cannot be used, in one sentence."""

    error_code: Literal["BAD_REQUEST", "TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR"]
    message: str


def advice(path: str) -> str:
    """What to send to a route."""
    return ADVICE if path == "/invocations" else ADVICE_ALONE


def parsed(body: bytes, such_as: str) -> Any:
    """The JSON of a body. HTTPException if it has too many pieces, or is none; `such_as` says what to send."""
    if sum(map(body.count, (b"[", b"{", b":"))) > MAX_PIECES:
        raise HTTPException(413, f"The JSON has more than {MAX_PIECES} lists and fields: send large pictures as base64.")
    try:
        return json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise HTTPException(400, f"The body is not JSON: {such_as}.") from None
    except RecursionError:
        raise HTTPException(400, f"The JSON is nested too deeply: {such_as}.") from None
    except ValueError as error:  # a number of thousands of digits
        raise HTTPException(400, f"The request cannot be read ({type(error).__name__}): {such_as}.") from None

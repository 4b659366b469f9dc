"""The registered model as MLflow runs it. MLflow copies this file into the model and executes it there ("models from
code"), so that nothing is pickled; importing it does nothing.

    mlflow models predict -m models:/iqaflow@champion --env-manager local -i rows.json
    rows.json: {"dataframe_split": {"columns": ["image"], "data": [["BASE64 OR PATH"]]}}

Columns: `image` (base64 of an image file, or a path), optionally `reference` (the same) and `question`. The answer is
one JSON text per row in the schema `iqaflow.assessment/1`, or `{"schema": ..., "error": "the reason"}` where a row
cannot be used. A server that strangers reach sets IQAFLOW_IMAGE_PATHS=0: then only base64 is read.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SCHEMA = "iqaflow.assessment/1"
MAX_PATH = 4096


def pixels(text: str) -> np.ndarray:
    """The image in a cell: base64 (a data URL too) or a path; uint8 RGB (H, W, 3). ImageError if it is neither."""
    from iqaflow.data import images

    if os.environ.get("IQAFLOW_IMAGE_PATHS") != "0" and len(text) < MAX_PATH and _is_file(text):
        return images.decode(Path(text))
    data = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        return images.decode(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, images.ImageError):
            raise
        raise images.ImageError("The column `image` holds neither an image file's path nor its base64 text") from None


def answer(model: Any, row: dict[str, Any]) -> str:
    """One row's assessment as JSON."""
    from iqaflow.data.images import ImageError

    given = {name: value for name, value in row.items() if isinstance(value, str) and value}
    try:
        if "image" not in given:
            raise ImageError("The column `image` is empty")
        more: dict[str, Any] = {"reference": pixels(given["reference"])} if "reference" in given else {}
        more.update({"question": given["question"]} if "question" in given else {})
        return json.dumps(model.assess(pixels(given["image"]), **more))
    except ValueError as error:  # the row's fault; the other rows are still answered
        return json.dumps({"schema": SCHEMA, "error": str(error)})


def build() -> Any:
    """The object that MLflow calls."""
    import warnings

    from mlflow.pyfunc import PythonModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for type hints, which it would take for the schema; ours is explicit

        class Assessor(PythonModel):
            def load_context(self, context: Any) -> None:
                from iqaflow.infer import load

                self.model = load(Path(context.artifacts["stage1"]).parent)

            def predict(self, context, model_input, params=None):
                return [answer(self.model, row) for row in model_input.to_dict("records")]

    return Assessor()


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a name too long or with a null byte is no path
        return False


if __name__.startswith("code_model_"):  # the name under which MLflow executes a model's code
    from mlflow.models import set_model

    set_model(build())

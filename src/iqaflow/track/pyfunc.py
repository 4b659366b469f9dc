"""The registered model as MLflow runs it. MLflow copies this file into the model and executes it there ("models from
code"), so that nothing is pickled; importing it does nothing.

    mlflow models predict -m models:/iqaflow@champion --env-manager local -i rows.json
    rows.json: {"dataframe_split": {"columns": ["image"], "data": [["BASE64 OR PATH"]]}}

Columns: `image` (base64 of an image file, or a path), optionally `reference` (the same) and `question`. The answer is
one JSON text per row in the schema `iqaflow.assessment/1`, or `{"schema": ..., "error": "the reason"}` where a row
cannot be used. A server that strangers reach sets IQAFLOW_IMAGE_PATHS=0: then only base64 is read.
"""

import base64
import binascii
import json
import os
import threading
from pathlib import Path
from typing import Any

SCHEMA = "iqaflow.assessment/1"
MAX_PATH = 4096


def source(text: str) -> bytes | str:
    """What a cell holds, as `assess` takes it: the bytes of its base64 (a data URL too), or its path."""
    if os.environ.get("IQAFLOW_IMAGE_PATHS") != "0" and len(text) < MAX_PATH and _is_file(text):
        return text
    try:
        return base64.b64decode(text.partition(";base64,")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("The cell holds neither the path of an image file nor its base64 text.") from None


def answer(model: Any, row: dict[str, Any]) -> str:
    """One row's assessment as JSON."""
    given = {name: value for name, value in row.items() if isinstance(value, str) and value}
    try:
        if "image" not in given:
            raise ValueError("The column `image` is empty.")
        more: dict[str, Any] = {"reference": source(given["reference"])} if "reference" in given else {}
        more.update({"question": given["question"]} if "question" in given else {})
        return json.dumps(model.assess(source(given["image"]), **more))
    except ValueError as error:  # the row's fault; the other rows are still answered
        return json.dumps({"schema": SCHEMA, "error": str(error)})


def build() -> Any:
    """The object that MLflow calls."""
    import pandas
    from mlflow.pyfunc import PythonModel

    class Assessor(PythonModel):
        def load_context(self, context: Any) -> None:
            from iqaflow.infer import load

            self.model, self.alone = load(Path(context.artifacts["stage1"]).parent), threading.Lock()

        def predict(self, context: Any, model_input: pandas.DataFrame, params: dict | None = None) -> list[str]:
            with self.alone:  # a server calls from several threads
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

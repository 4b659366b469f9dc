"""The registered model as MLflow runs it. MLflow copies this file into the model and executes it there ("models from
code"), so that nothing is pickled; importing it does nothing.

    mlflow models serve -m models:/iqaflow@champion --env-manager local --host 127.0.0.1 --port 5001
    mlflow models predict -m models:/iqaflow@champion --env-manager local -i rows.json
    rows.json: {"dataframe_split": {"columns": ["image"], "data": [["BASE64 OR PATH"]]}}

Columns: `image`, and optionally what `Assessor.assess` takes besides (`iqaflow.serve.request`). The answer is one JSON
text per row in the schema `iqaflow.assessment/1` (`iqaflow.comparison/1` where the row has `compare_with`), or
`{"schema": ..., "error": "the reason"}` where a row cannot be used. Over HTTP a request without one usable row is
refused with 400, and paths are not read (`iqaflow.serve.limits`).
"""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = "iqaflow.assessment/1"


def build() -> Any:
    """The object that MLflow calls."""
    import pandas
    from mlflow.pyfunc import PythonModel

    class Assessor(PythonModel):
        def load_context(self, context: Any) -> None:
            from iqaflow.core.manifest import read_manifest
            from iqaflow.infer import load
            from iqaflow.serve import limits

            read_manifest(Path(context.artifacts["stage1"]).parents[1], verify=True)  # code and requirements, too
            self.model, self.alone = load(Path(context.artifacts["stage1"]).parent), threading.Lock()
            if limits.serving():
                self.model.max_pixels = limits.MAX_PIXELS
                limits.install()

        def predict(self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> list[str]:
            from iqaflow.serve import limits

            rows = model_input.to_dict("records")
            if limits.serving() and not 1 <= len(rows) <= limits.MAX_ROWS:
                raise limits.refused(f"The request has {len(rows)} rows, it must have 1 to {limits.MAX_ROWS}.")
            answers = [self.answer(row) for row in rows]
            if limits.serving() and all("error" in one for one in answers):
                among = f"None of the {len(rows)} rows can be used. The first: " if len(rows) > 1 else ""
                raise limits.refused(among + answers[0]["error"])
            return [json.dumps(one) for one in answers]

        def answer(self, row: dict[str, Any]) -> Mapping[str, Any]:
            from iqaflow.core.errors import InputError
            from iqaflow.serve import limits, request

            try:
                with self.alone:  # a server calls from several threads; row by row, so that a batch keeps nobody waiting
                    return request.assess(self.model, row, limits.paths())
            except InputError as error:  # the row's fault; the other rows are still answered
                return {"schema": SCHEMA, "error": str(error)}

    return Assessor()


if __name__.startswith("code_model_"):  # the name under which MLflow executes a model's code
    from mlflow.models import set_model

    set_model(build())

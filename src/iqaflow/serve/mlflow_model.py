"""The registered model as MLflow runs it. MLflow copies this file into the model and executes it there ("models from
code"), so that nothing is pickled; importing it does nothing.

    mlflow models serve -m models:/iqaflow@champion --env-manager local --host 127.0.0.1 --port 5001
    mlflow models predict -m models:/iqaflow@champion --env-manager local -i rows.json
    rows.json: {"dataframe_split": {"columns": ["image"], "data": [["BASE64 OR PATH"]]}}

Columns: `image`, and optionally what `Assessor.assess` takes besides (`iqaflow.serve.request`). The answer is one JSON
text per row in the schema `iqaflow.assessment/1` (`iqaflow.comparison/1` where the row has `compare_with`), or
`{"schema": ..., "error": "the reason"}` where a row cannot be used.

MLflow's own server (3.17) has no setting and no hook for strangers: it answers 500 to JSON nested too deeply, puts
tracebacks into answers, unpacks Parquet of any size, and asks for no Host. It makes a FastAPI application once the model
is loaded; it gets ours (`iqaflow.serve.application`), whose routes come before those that MLflow adds. Where that does
not happen, in another version of MLflow, nothing is answered.
"""

import json
import sys
from pathlib import Path
from typing import Any

SCHEMA = "iqaflow.assessment/1"
SERVER = "mlflow.pyfunc.scoring_server.app"  # imported by the server alone, and by nothing else


def build() -> Any:
    """The object that MLflow calls."""
    import pandas
    from mlflow.pyfunc.model import PythonModel

    class Assessor(PythonModel):
        def load_context(self, context: Any) -> None:
            from iqaflow.core.manifest import read_manifest
            from iqaflow.infer import load

            read_manifest(Path(context.artifacts["stage1"]).parents[1], verify=True)  # code and requirements, too
            self.model = load(Path(context.artifacts["stage1"]).parent)
            if serving():
                hand_over(self.model)

        def predict(self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None) -> list[str]:
            if serving():
                raise RuntimeError("This MLflow has another server, which would answer without limits: use `iqaflow serve`.")
            return [json.dumps(self.answer(row)) for row in model_input.to_dict("records")]

        def answer(self, row: dict[str, Any]) -> Any:
            from iqaflow.core.errors import InputError
            from iqaflow.serve import limits, request

            try:
                return request.assess(self.model, row, limits.paths(default=True))
            except InputError as error:  # the row's fault; the other rows are still answered
                return {"schema": SCHEMA, "error": str(error)}

    return Assessor()


def serving() -> bool:
    """Whether this process is MLflow's scoring server."""
    return SERVER in sys.modules


def hand_over(model: Any) -> None:
    """Let the application that the server makes next be ours."""
    import fastapi

    from iqaflow.serve.application import application

    plain, ours = fastapi.FastAPI, application(model, seconds=None)  # `--timeout` is MLflow's

    def ours_once(**options: Any) -> fastapi.FastAPI:
        fastapi.FastAPI = plain  # type: ignore[misc]  # a class is assigned to, the same one
        return ours

    fastapi.FastAPI = ours_once  # type: ignore[misc,assignment]  # MLflow imports the name when it makes its application


if __name__.startswith("code_model_"):  # the name under which MLflow executes a model's code
    from mlflow.models import set_model

    set_model(build())

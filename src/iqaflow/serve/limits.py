"""What `mlflow models serve` lacks for strangers: a doorkeeper, limits, and one sentence with a 4xx for whatever cannot be used.

MLflow's scoring server (3.17) has no setting and no hook for this. It answers 500 to JSON nested too deeply and to a
request without a content type, puts tracebacks into other answers, repeats a broken body whole, and unpacks Parquet of
any size. All requests pass through one function of it, so this one is wrapped, when a model is loaded inside the server.

The server holds a body in memory before anybody is asked: what faces the internet needs a proxy with a limit of its own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from iqaflow.core.security.doorkeeper import Doorkeeper

SERVER = "mlflow.pyfunc.scoring_server.app"  # imported by the server alone, and by nothing else
MAX_ROWS = 32
MAX_PIXELS = 60_000_000
MAX_MIB = 32  # of a request; IQAFLOW_MAX_REQUEST_MIB
MAX_PIECES = 1_000_000  # lists, objects and fields: MLflow needs up to 350 bytes and several microseconds for each
ADVICE = 'send JSON such as {"dataframe_split": {"columns": ["image"], "data": [["BASE64"]]}}'

_log = logging.getLogger("uvicorn.error")  # the server's own log


def serving() -> bool:
    """Whether this process is MLflow's scoring server."""
    return SERVER in sys.modules


def paths() -> bool:
    """Whether cells may name files of this machine: not over HTTP, unless IQAFLOW_IMAGE_PATHS=1."""
    return os.environ.get("IQAFLOW_IMAGE_PATHS", "0" if serving() else "1") != "0"


def refused(sentence: str) -> Exception:
    """What `predict` raises so that the server answers 400."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST

    return MlflowException(sentence, error_code=BAD_REQUEST)


def install() -> None:
    """Put the guard before the server's `invocations`."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

    if serving():
        _keep_the_door()
    inner, limit = getattr(scoring_server, "invocations", None), float(os.environ.get("IQAFLOW_MAX_REQUEST_MIB", MAX_MIB))
    if inner is None:
        _log.warning("This MLflow has another scoring server: requests are not limited, errors are MLflow's.")
        return

    def say(status: int, sentence: str) -> Any:
        body = json.dumps({"error_code": "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR", "message": sentence})
        return scoring_server.InvocationsResponse(response=body, status=status, mimetype="application/json")

    def guarded(data: bytes, content_type: str | None, *more: Any) -> Any:
        if len(data) > limit * 2**20:
            return say(413, f"The request has {len(data) / 2**20:.1f} MiB, above the limit of {limit:g} MiB.")
        if (content_type or "").partition(";")[0].strip().lower() != "application/json":
            return say(415, f"The content type must be application/json: {ADVICE}.")
        if sum(map(data.count, (b"[", b"{", b":"))) > MAX_PIECES:
            return say(413, f"The JSON has more than {MAX_PIECES} lists and fields: send large pictures as base64.")
        try:
            return inner(data, content_type, *more)
        except MlflowException as error:
            if "stack_trace" in error.json_kwargs:  # predict failed in a way that is no fault of the request
                _log.error(error.json_kwargs["stack_trace"])
                return say(500, "The model failed on this request; the server's log says why.")
            return say(400, _reason(str(error)))
        except RecursionError:
            return say(400, f"The JSON is nested too deeply: {ADVICE}.")
        except Exception as error:  # raised while the body was parsed, so whatever it is, the body is to blame
            return say(400, f"The request cannot be read ({type(error).__name__}): {ADVICE}.")

    scoring_server.invocations = guarded


def _keep_the_door() -> None:
    """Put the doorkeeper into the application that the server makes next, once its model is loaded: only the server's own
    address and IQAFLOW_ALLOWED_HOSTS are answered, and no page of another origin. Outermost but for MLflow's time limit.
    """
    import fastapi
    from starlette.middleware import Middleware

    class Guarded(fastapi.FastAPI):
        def __init__(self, **options: Any) -> None:
            super().__init__(**{**options, "middleware": [Middleware(Doorkeeper), *options.get("middleware", ())]})

    fastapi.FastAPI = Guarded  # type: ignore[misc]  # MLflow imports the name in the function that makes the application


def _reason(message: str) -> str:
    """MLflow's message as one short sentence, without the body it repeats. Our own messages stay as they are."""
    if message.startswith("Invalid input. Ensure that input is a valid JSON"):
        return f"The body is not JSON: {ADVICE}."
    if message.startswith("Failed to enforce schema"):
        message = f"The table does not fit the model: {message.rpartition('Error: ')[2]}"
    message = " ".join(message.split())
    return message if len(message) < 300 else f"The request cannot be used: {ADVICE}."

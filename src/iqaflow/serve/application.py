"""The model over HTTP: one FastAPI application, started by `iqaflow serve` and, in its own server, by `mlflow models serve`.

| route | takes | gives |
|---|---|---|
| POST /assess, /compare | one image or two, as JSON | an `Assessment`, a `Comparison` (infer/schema.py) |
| POST /assess/upload | the same as `multipart/form-data`, images as files | an `Assessment` |
| POST /invocations | a table, in MLflow's scoring protocol | one JSON text per row |
| GET /ping, /health, /version, /openapi.json | | that it lives; MLflow's version, which its clients ask; all schemas |

Before all of it stand the doorkeeper and the limits. What cannot be used is a 4xx with one sentence.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from importlib.metadata import version as version_of
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from iqaflow.core.errors import InputError
from iqaflow.core.security.doorkeeper import Doorkeeper
from iqaflow.core.version import VERSION
from iqaflow.infer.assessor import SCHEMA, Assessor
from iqaflow.infer.schema import Assessment, Comparison
from iqaflow.serve import limits, request
from iqaflow.serve.bodies import AssessRequest, CompareRequest, Predictions, Refusal, Table, advice, cells, parsed

JSON = "application/json"
CODES = {500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE", 504: "TEMPORARILY_UNAVAILABLE"}
WHEN = {
    400: "The request, or every row of it, cannot be used.",
    413: "The request is too large.",
    415: f"The content type is not {JSON}.",
    500: "A fault of the model or the machine; the server's log says which.",
    503: "Too many requests wait.",
    504: "No answer in time.",
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    **{status: {"model": Refusal, "description": sentence} for status, sentence in WHEN.items()},
    "default": {"model": Refusal, "description": "Any other refusal."},
}

_log = logging.getLogger("uvicorn.error")  # the server's own log


def application(assessor: Assessor, seconds: float | None = limits.SECONDS) -> FastAPI:
    """The application that asks this model, which takes pictures of at most `limits.MAX_PIXELS` from now on."""
    assessor.max_pixels = limits.MAX_PIXELS
    handlers: dict[int | type[Exception], Any] = {HTTPException: _refused, RequestValidationError: _unfit, InputError: _unusable}
    app = FastAPI(
        title="iqaflow",
        summary="What is wrong with an image, where, how badly, and how sure the model is.",
        version=VERSION,
        docs_url=None,  # these pages would load scripts from another host
        redoc_url=None,
        middleware=[Middleware(Doorkeeper), Middleware(limits.Limits, refuse=refusal, mib=limits.max_mib(), seconds=seconds)],
        exception_handlers=handlers,
    )
    app.include_router(_routes(Desk(assessor)))
    app.openapi()  # kept from here on: MLflow adds routes of its own to the application, which are never reached
    return app


class Desk:
    """One thread asks the model, row by row, so that a batch keeps nobody waiting. A row that is not waited for any more is not
    begun.
    """

    def __init__(self, assessor: Assessor) -> None:
        self.assessor, self.paths = assessor, limits.paths()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def answer(self, row: dict[str, Any]) -> Assessment | Comparison:
        """InputError says what is wrong with the row, HTTPException 500 that something is wrong here."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, request.assess, self.assessor, row, self.paths)
        except InputError:
            raise
        except Exception:
            _log.exception("The model failed on a request.")
            raise HTTPException(500, "The model failed on this request; the server's log says why.") from None


class _JsonRequest(Request):
    """Its JSON is parsed off the event loop, for a large body takes a while, and within limits."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = await asyncio.to_thread(parsed, await self.body(), advice(self.url.path))
        return self._json


class _JsonRoute(APIRoute):
    """A route that takes JSON alone: a web page's form has another content type."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(given: Request) -> Response:
            if given.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
                await given.body()  # an answer before the body's end would not be read
                raise HTTPException(415, f"The content type must be {JSON}: {advice(self.path)}.")
            as_json = _JsonRequest(given.scope, given.receive)
            await as_json.json()
            return await handle(as_json)

        return checked


def _routes(desk: Desk) -> APIRouter:
    whole, in_json = APIRouter(), APIRouter(route_class=_JsonRoute, responses=REFUSALS)

    @in_json.post("/assess", response_model=Assessment)
    async def assess(body: AssessRequest) -> Response:
        """What is wrong with an image, where, how badly, and how sure the model is."""
        return _json(await desk.answer(cells(body)))

    @in_json.post("/compare", response_model=Comparison)
    async def compare(body: CompareRequest) -> Response:
        """Which of two images is better, and why."""
        return _json(await desk.answer(cells(body)))

    @whole.post("/assess/upload", response_model=Assessment, responses=REFUSALS)
    async def upload(
        image: UploadFile,
        reference: UploadFile | None = None,
        mask: UploadFile | None = None,
        region: Annotated[str | None, Form()] = None,
        point: Annotated[str | None, Form()] = None,
        phrase: Annotated[str | None, Form()] = None,
        question: Annotated[str | None, Form()] = None,
    ) -> Response:
        """The same of a file that a form uploads."""
        files = {"image": image, "reference": reference, "mask": mask}
        words = {"region": region, "point": point, "phrase": phrase, "question": question}
        row: dict[str, Any] = {name: await file.read() for name, file in files.items() if file is not None}
        return _json(await desk.answer({**row, **words}))

    @in_json.post("/invocations", response_model=Predictions)
    async def invocations(table: Table) -> Response:
        """A table in MLflow's scoring protocol; rows that cannot be used hold an error, unless none can."""
        answers: list[Any] = []
        rows = table.rows()
        for row in rows:
            try:
                answers.append(await desk.answer(row))
            except InputError as error:
                answers.append({"schema": SCHEMA, "error": str(error)})
        if all("error" in answer for answer in answers):
            among = f"None of the {len(rows)} rows can be used. The first: " if len(rows) > 1 else ""
            raise HTTPException(400, among + answers[0]["error"])
        return _json({"predictions": [json.dumps(answer) for answer in answers]})

    @whole.get("/ping")
    @whole.get("/health")
    async def ping() -> Response:
        """That the model is loaded and the server answers."""
        return Response("\n", media_type=JSON)

    @whole.get("/version")
    async def version() -> Response:
        """The version of MLflow whose protocol `/invocations` speaks."""
        return Response(version_of("mlflow"), media_type=JSON)

    whole.include_router(in_json)
    return whole


def _json(answer: Any) -> Response:
    return Response(json.dumps(answer), media_type=JSON)


def refusal(status: int, sentence: str) -> Response:
    """The answer to what is refused: an error code of MLflow's and one sentence."""
    body = {"error_code": CODES.get(status, "BAD_REQUEST"), "message": sentence}
    return Response(json.dumps(body), status, media_type=JSON)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    own = HTTPStatus(error.status_code).phrase == error.detail  # FastAPI's: not found, method not allowed
    answer = refusal(error.status_code, f"{error.detail}: /openapi.json lists what there is." if own else error.detail)
    answer.headers.update(error.headers or {})
    return answer


def _unusable(_: Request, error: Exception) -> Response:
    return refusal(400, str(error))


def _unfit(_: Request, error: Exception) -> Response:
    """Why a body has not the form of its model, without what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(".".join(map(str, first["loc"][1:])).split())[:80]
    return refusal(400, f"The request cannot be used ({where}: {first['msg']}): /openapi.json has its schema.")

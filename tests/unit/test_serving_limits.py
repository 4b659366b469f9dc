"""What the model server's limits do with requests that wait, take long, or fail: without a model."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from iqaflow.serve import limits
from iqaflow.serve.application import application, refusal

IMAGE = {"image": np.zeros((9, 9, 3), int).tolist()}


class Model:
    """A model whose answers wait for `go`."""

    def __init__(self) -> None:
        self.go, self.calls, self.max_pixels = threading.Event(), 0, 0

    def assess(self, image: Any, **options: Any) -> dict[str, Any]:
        self.calls += 1
        assert self.go.wait(20)
        if "question" in options:
            raise MemoryError("a secret of the machine")
        return {"shape": list(image.shape)}


@pytest.fixture
def model() -> Any:
    model = Model()
    yield model
    model.go.set()


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:5001")


def says(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert set(body) == {"error_code", "message"}
    return answer.status_code, body["error_code"], body["message"]


def test_a_fault_of_the_model_is_the_servers(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    """The one 500: it fails for a reason nobody foresaw, which is in the log alone."""

    async def run() -> list[httpx.Response]:
        model.go.set()
        async with client(application(model)) as web:
            rows = {"dataframe_records": [{**IMAGE, "question": "Why?"}]}
            return [await web.post("/assess", json={**IMAGE, "question": "Why?"}), await web.post("/invocations", json=rows)]

    for answer in asyncio.run(run()):
        sentence = "The model failed on this request; the server's log says why."
        assert says(answer) == (500, "INTERNAL_ERROR", sentence)
    assert "a secret of the machine" in caplog.text
    assert model.max_pixels == limits.MAX_PIXELS


def test_one_request_too_many_is_503_and_health_still_answers(model: Model) -> None:
    async def run() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        async with client(application(model)) as web:
            waiting = [asyncio.create_task(web.post("/assess", json=IMAGE)) for _ in range(limits.MAX_WAITING)]
            async with asyncio.timeout(20):
                while not model.calls:
                    await asyncio.sleep(0.01)
            refused, health = await web.post("/assess", json=IMAGE), await web.get("/ping")
            model.go.set()
            return list(await asyncio.gather(*waiting)), refused, health

    answered, refused, health = asyncio.run(run())
    assert {answer.status_code for answer in answered} == {200} and answered[0].json() == {"shape": [9, 9, 3]}
    assert says(refused) == (503, "TEMPORARILY_UNAVAILABLE", "32 requests wait already: send this one again later.")
    assert health.status_code == 200


def test_a_request_that_takes_too_long_is_504_and_those_behind_it_are_not_begun(model: Model) -> None:
    async def run() -> list[httpx.Response]:
        async with client(application(model, seconds=0.3)) as web:
            return list(await asyncio.gather(*(web.post("/assess", json=IMAGE) for _ in range(3))))

    for answer in asyncio.run(run()):
        assert says(answer) == (504, "TEMPORARILY_UNAVAILABLE", "There was no answer within 0.3 s.")
    model.go.set()
    assert model.calls == 1


def test_no_more_of_a_body_is_kept_than_its_limit() -> None:
    """Nobody is asked, and what is above the limit is dropped as it comes; no length is declared."""
    kept, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            kept.append(len((await receive())["body"]))

    async def receive() -> Any:
        sent.append(2**19)
        return {"type": "http.request", "body": bytes(2**19), "more_body": len(sent) < 100}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    guarded = limits.Limits(app, refusal, mib=2, seconds=None)
    with pytest.raises(Exception, match=r"The request has 50\.0 MiB, above the limit of 2 MiB\."):
        asyncio.run(guarded({"type": "http", "method": "POST"}, receive, send))
    assert sum(kept) == 2 * 2**20 and len(sent) == 100 and guarded.waiting == 0

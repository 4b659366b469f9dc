"""A teacher behind an OpenAI-compatible endpoint, as vLLM and `transformers serve` speak it (POST /chat/completions).

    annotate.teacher: {kind: http, url: http://127.0.0.1:8000/v1, model: NAME}

The key, if the server wants one, comes from the environment variable IQAFLOW_TEACHER_KEY and is shown nowhere.
"""

from __future__ import annotations

import base64
import json
import math
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow.annotate.teachers import Completion
from iqaflow.core.clients.http import LONGEST_RETRY_AFTER_S, TRANSIENT, Client, TryAgain, persist
from iqaflow.core.config.schema import Teacher
from iqaflow.core.errors import ConfigError, InputError, PipelineError
from iqaflow.core.security.redaction import redact
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import encode_png

if TYPE_CHECKING:
    import httpx

KEY = "IQAFLOW_TEACHER_KEY"
FIRST_WAIT_S = 0.5  # before the first retry
LARGEST = 4_000_000  # bytes of a response
BUSY = TRANSIENT | {409}


class _Refused(Exception):
    """The server does not take this request: status and its own words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status, words)
        self.status, self.words = status, words


class Backend:
    parallel = True

    def __init__(self, config: Teacher, workspace: Workspace) -> None:
        if not config.model:
            raise ConfigError("annotate.teacher.model is missing: kind=http needs the model's name at the endpoint.")
        if not config.url.startswith(("http://", "https://")):
            raise ConfigError(f"annotate.teacher.url must start with http:// or https://, not {config.url[:60]!r}.")
        self.config = config
        self.name = self.identity = config.model + (f"@{config.revision}" if config.revision else "")
        key = os.environ.get(KEY, "")
        self.url = config.url.rstrip("/") + "/chat/completions"
        self.client = Client(
            config.timeout_s, headers={"Authorization": f"Bearer {key}"} if key else {}, connections=config.concurrency
        )
        self.extras = True  # a schema-guided reply with its probabilities, until the server says it cannot

    def write(self, text: str, images: Sequence[np.ndarray], schema: dict[str, Any]) -> Completion:
        """One chat completion. Raises InputError if the request can never work, PipelineError after all retries."""
        pictures = [{"type": "image_url", "image_url": {"url": _address(image)}} for image in images]
        request = {
            "model": self.config.model,
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature,
            "messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}],
        }
        extras = {
            "logprobs": True,
            "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}},
        }
        for body in ({**request, **extras}, request) if self.extras else (request,):
            try:
                completion = self._patiently(body)
            except _Refused as refused:
                if body is request or refused.status not in (400, 422):
                    raise self._sentence(refused.status, refused.words) from None
                continue  # perhaps the extras: not every server knows them
            self.extras = self.extras and body is not request
            return completion
        raise AssertionError("unreachable")

    def _patiently(self, request: dict[str, Any]) -> Completion:
        try:
            return persist(lambda: _completion(self._post(request)), self.config.retries + 1, FIRST_WAIT_S)
        except TryAgain as failure:
            if failure.retry_after_s > LONGEST_RETRY_AFTER_S:
                raise PipelineError(
                    f"The teacher at {self.url} asks to wait {failure.retry_after_s:.0f} s ({failure}): try again later."
                ) from None
            raise PipelineError(
                f"The teacher at {self.url} does not answer, {self.config.retries + 1} tries: {failure}. Start the "
                "server or correct annotate.teacher.url, then run the same command; replies so far are kept."
            ) from None

    def _post(self, request: dict[str, Any]) -> bytes:
        """The body of the response. Raises TryAgain, or _Refused."""
        until = time.monotonic() + self.config.timeout_s

        def explain(fault: httpx.Response | httpx.RequestError) -> str:
            if isinstance(fault, Exception):
                return self._broken(fault)
            return f"HTTP {fault.status_code} {_words(self._body(fault, until))}".strip()

        with self.client.stream("POST", self.url, explain, json=request, transient=BUSY) as response:
            body = self._body(response, until)
        if response.status_code != 200:
            raise _Refused(response.status_code, _words(body))
        return body

    def _body(self, response: httpx.Response, until: float) -> bytes:
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LARGEST:
                raise TryAgain(f"a response of more than {LARGEST} bytes")
            if time.monotonic() > until:
                raise TryAgain(f"no whole response in {self.config.timeout_s:g} s")
        return body

    def _broken(self, error: httpx.RequestError) -> str:
        import httpx

        if isinstance(error, httpx.TimeoutException):
            return f"no response in {self.config.timeout_s:g} s"
        return "no connection" if isinstance(error, httpx.ConnectError) else f"the connection broke ({type(error).__name__})"

    def _sentence(self, status: int, words: str) -> InputError:
        if status in (401, 403):
            return InputError(f"The teacher at {self.url} refuses the key (HTTP {status}): set {KEY} to one it accepts.")
        if status == 404:
            return InputError(
                f"The teacher at {self.url} has no such address or no model {self.config.model!r} (HTTP 404): "
                f"correct annotate.teacher.url (it usually ends in /v1) or annotate.teacher.model. {words}".strip()
            )
        return InputError(f"The teacher at {self.url} refuses the request (HTTP {status}): {words or 'it gives no reason'}")


def _completion(body: bytes) -> Completion:
    try:
        choice = json.loads(body)["choices"][0]
        text = choice["message"]["content"] or ""
        if not isinstance(text, str):
            raise TypeError
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise TryAgain("the response is not in the OpenAI format") from None
    try:
        logs = [float(token["logprob"]) for token in choice["logprobs"]["content"]]
        sure = min(sum(map(math.exp, logs)) / len(logs), 1.0)
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        sure = None  # most servers tell only when asked, some never
    return Completion(redact(text), sure)


def _address(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode("ascii")


def _words(body: bytes) -> str:
    """The server's own reason, printable and short, without the key that it may repeat; it may be a page of HTML."""
    text = body[:4000].decode("utf-8", errors="replace")
    try:
        value = json.loads(body)
        for name in ("error", "message", "detail"):
            value = value.get(name, value) if isinstance(value, dict) else value
        text = value if isinstance(value, str) else text
    except (ValueError, RecursionError):
        pass  # not JSON: shown as it is
    return "".join(mark for mark in redact(" ".join(text.split())) if mark.isprintable())[:200]

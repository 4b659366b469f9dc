"""A teacher behind an OpenAI-compatible endpoint, as vLLM and `transformers serve` speak it (POST /chat/completions).

    annotate.teacher: {kind: http, url: http://127.0.0.1:8000/v1, model: NAME}

The key, if the server wants one, comes from the environment variable IQAFLOW_TEACHER_KEY and is shown nowhere.
"""

from __future__ import annotations

import base64
import email.utils
import json
import math
import os
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow.annotate.teachers import Completion
from iqaflow.core.config.schema import Teacher
from iqaflow.core.errors import ConfigError, InputError, PipelineError
from iqaflow.core.security.redaction import redact
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import encode_png

KEY = "IQAFLOW_TEACHER_KEY"
FIRST_WAIT_S = 0.5  # before the first retry; it doubles, with up to half as much again at random
LONGEST_WAIT_S = 120.0  # a server that asks for more is given up
LARGEST = 4_000_000  # bytes of a response
BUSY = {408, 409, 425, 429}  # and every 5xx: worth another try


class _TryAgain(Exception):
    """The network or the server failed; `wait` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Refused(Exception):
    """The server does not take this request: status and its own words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(status, words)
        self.status, self.words = status, words


class Backend:
    parallel = True

    def __init__(self, config: Teacher, workspace: Workspace) -> None:
        import httpx

        if not config.model:
            raise ConfigError("annotate.teacher.model is missing: kind=http needs the model's name at the endpoint.")
        if not config.url.startswith(("http://", "https://")):
            raise ConfigError(f"annotate.teacher.url must start with http:// or https://, not {config.url[:60]!r}.")
        self.config = config
        self.name = self.identity = config.model + (f"@{config.revision}" if config.revision else "")
        key = os.environ.get(KEY, "")
        self.url = config.url.rstrip("/") + "/chat/completions"
        self.client = httpx.Client(
            timeout=config.timeout_s,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency),
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
        refusal = None
        for body in ({**request, **extras}, request) if self.extras else (request,):
            try:
                said = self._tried(body)
            except _Refused as refused:
                refusal = self._sentence(refused.status, refused.words)
                if refused.status not in (400, 422):
                    break
                continue  # perhaps the extras: not every server knows them
            self.extras = self.extras and body is not request
            return said
        raise refusal

    def _tried(self, request: dict[str, Any]) -> Completion:
        reason = ""
        for attempt in range(self.config.retries + 1):
            try:
                return _said(self._post(request))
            except _TryAgain as failure:
                reason, wait = str(failure), failure.wait
            if wait > LONGEST_WAIT_S:
                raise PipelineError(f"The teacher at {self.url} asks to wait {wait:.0f} s ({reason}): try again later.")
            if attempt < self.config.retries:
                time.sleep(max(wait, FIRST_WAIT_S * 2**attempt * random.uniform(1.0, 1.5)))
        raise PipelineError(
            f"The teacher at {self.url} does not answer, {self.config.retries + 1} tries: {reason}. Start the "
            "server or correct annotate.teacher.url, then run the same command; replies so far are kept."
        )

    def _post(self, request: dict[str, Any]) -> bytes:
        import httpx

        until = time.monotonic() + self.config.timeout_s
        body = b""
        try:
            with self.client.stream("POST", self.url, json=request) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > LARGEST:
                        raise _TryAgain(f"a response of more than {LARGEST} bytes")
                    if time.monotonic() > until:
                        raise _TryAgain(f"no whole response in {self.config.timeout_s:g} s")
                status, wait = response.status_code, response.headers.get("retry-after")
        except httpx.TimeoutException:
            raise _TryAgain(f"no response in {self.config.timeout_s:g} s") from None
        except httpx.ConnectError:
            raise _TryAgain("no connection") from None
        except httpx.HTTPError as error:
            raise _TryAgain(f"the connection broke ({type(error).__name__})") from None
        if status == 200:
            return body
        words = _words(body)
        if status in BUSY or status >= 500:
            raise _TryAgain(f"HTTP {status} {words}".strip(), _seconds(wait))
        raise _Refused(status, words)

    def _sentence(self, status: int, words: str) -> InputError:
        if status in (401, 403):
            return InputError(f"The teacher at {self.url} refuses the key (HTTP {status}): set {KEY} to one it accepts.")
        if status == 404:
            return InputError(
                f"The teacher at {self.url} has no such address or no model {self.config.model!r} (HTTP 404): "
                f"correct annotate.teacher.url (it usually ends in /v1) or annotate.teacher.model. {words}".strip()
            )
        return InputError(f"The teacher at {self.url} refuses the request (HTTP {status}): {words or 'it gives no reason'}")


def _said(body: bytes) -> Completion:
    try:
        choice = json.loads(body)["choices"][0]
        text = choice["message"]["content"] or ""
        if not isinstance(text, str):
            raise TypeError
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise _TryAgain("the response is not in the OpenAI format") from None
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


def _seconds(value: str | None) -> float:
    """`Retry-After` as seconds from now: a number or a date; 0 if absent or unreadable."""
    if not value:
        return 0.0
    try:
        return max(float(value), 0.0) if math.isfinite(float(value)) else 0.0
    except ValueError:
        pass  # then it is a date
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError):
        return 0.0

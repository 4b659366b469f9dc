"""Asking servers, with patience: one HTTP client with time limits, and one rule for when and how often to try again.

    with Client(timeout_s=60) as http, http.stream("GET", url, explain) as response: ...     # one try
    persist(attempt, tries=6, first_wait_s=1.0)          # as many as it takes, with growing waits

Proxies come from the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), as httpx reads them. Reasons are stored without secrets.
"""

from __future__ import annotations

import email.utils
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from iqaflow.core.security.redaction import redact

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

Result = TypeVar("Result")
TRANSIENT = frozenset({408, 425, 429})  # and every 5xx: worth another try
LONGEST_WAIT_S = 60.0  # between two tries, before the jitter
LONGEST_RETRY_AFTER_S = 120.0  # a server that asks for a longer wait is given up
JITTER = 0.5  # waits are longer by up to this share at random, so that many clients do not come back together
_jitter = random.Random()  # its own, as the shared one may be what somebody's data depends on


class TryAgain(Exception):
    """The network or the server failed, and another try may help. `retry_after_s`: the wait the server asked for, in seconds."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(redact(reason))
        self.retry_after_s = retry_after_s


class Client:
    """Connections with time limits (seconds: for connecting, and for each silence after that). Threads may share it."""

    def __init__(
        self,
        timeout_s: float,
        connect_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        auth: httpx.Auth | None = None,
        follow_redirects: bool = False,
        connections: int = 100,
    ) -> None:
        import httpx

        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout_s, connect=timeout_s if connect_s is None else connect_s),
            headers=headers,
            auth=auth,
            follow_redirects=follow_redirects,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        explain: Callable[[httpx.Response | httpx.RequestError], str],
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        transient: frozenset[int] = TRANSIENT,
    ) -> Iterator[httpx.Response]:
        """One try: the response, whose body is read inside the block.

        Raises TryAgain, in the words of `explain`, if the connection fails, now or inside the block, or if the status is
        `transient` or 5xx; httpx.TooManyRedirects and httpx.InvalidURL for an address that leads nowhere.
        """
        import httpx

        try:
            with self._client.stream(method, url, headers=headers, json=json) as response:
                if response.status_code in transient or response.status_code >= 500:
                    raise TryAgain(explain(response), retry_after(response.headers.get("retry-after")))
                yield response
        except httpx.TooManyRedirects:
            raise
        except httpx.RequestError as error:
            raise TryAgain(explain(error)) from None


def persist(
    attempt: Callable[[], Result],
    tries: int,
    first_wait_s: float,
    progress: Callable[[], int] = int,
    announce: Callable[[TryAgain, float], None] | None = None,
) -> Result:
    """What `attempt` returns, once it raises TryAgain no more.

    The wait doubles from `first_wait_s` up to LONGEST_WAIT_S, and is never shorter than what the server asked for; `announce` is
    told about each with its failure. After `tries` failures in a row, or one that asks for more than LONGEST_RETRY_AFTER_S, the
    last TryAgain is raised. A failure after which `progress` has grown is the first of a new row.
    """
    from tenacity import Retrying

    failures, reached = 0, progress()

    def is_transient(state: RetryCallState) -> bool:
        nonlocal failures, reached
        before, reached = reached, progress()
        failures = 1 if reached > before else failures + 1
        return isinstance(_failure(state), TryAgain)

    def is_hopeless(state: RetryCallState) -> bool:
        return failures >= tries or _retry_after(state) > LONGEST_RETRY_AFTER_S

    def wait(state: RetryCallState) -> float:
        backoff = min(first_wait_s * 2.0 ** min(failures - 1, 30), LONGEST_WAIT_S)
        return max(_retry_after(state), backoff * _jitter.uniform(1.0, 1.0 + JITTER))

    def before_sleep(state: RetryCallState) -> None:
        failure = _failure(state)
        if announce is not None and isinstance(failure, TryAgain):
            announce(failure, state.upcoming_sleep)

    retrying = Retrying(retry=is_transient, stop=is_hopeless, wait=wait, before_sleep=before_sleep, reraise=True)
    return retrying(attempt)


def retry_after(value: str | None) -> float:
    """The header `Retry-After` as seconds from now: a number or a date; 0 if absent or unreadable."""
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


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _retry_after(state: RetryCallState) -> float:
    failure = _failure(state)
    return failure.retry_after_s if isinstance(failure, TryAgain) else 0.0

"""The HTTP client: which failures are tried again, how long it waits, and that what it says holds no secret."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate

import httpx
import pytest

from iqaflow.core.clients import http
from iqaflow.core.clients.http import Client, TryAgain, persist
from tests.chat_server import scripted


def words(fault: httpx.Response | httpx.RequestError) -> str:
    return type(fault).__name__ if isinstance(fault, Exception) else f"status {fault.status_code}"


def ask(client: Client, url: str) -> str:
    with client.stream("POST", f"{url}/chat/completions", words, json={}) as response:
        return response.read().decode()


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 599])
def test_passing_faults_are_tried_again(status, waits):
    with scripted(lambda _, number: (status, "") if number < 2 else (200, "here")) as server, Client(5) as client:
        assert persist(lambda: ask(client, server.url), tries=3, first_wait_s=1.0) == "here"
    assert 1.0 <= waits[0] <= 1.5 and 2.0 <= waits[1] <= 3.0 and len(waits) == 2


@pytest.mark.parametrize("status", [301, 400, 401, 404, 409])
def test_other_answers_are_the_callers_affair(status, waits):
    with scripted(lambda *_: (status, "why", {"Location": "/elsewhere"})) as server, Client(5) as client:
        assert persist(lambda: ask(client, server.url), tries=3, first_wait_s=1.0) == "why"
    assert not waits and len(server.requests) == 1


def test_a_dead_address_is_tried_so_often_and_its_last_failure_raised(waits):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    announced: list[tuple[str, float]] = []
    with Client(5) as client, pytest.raises(TryAgain, match=r"^ConnectError$"):
        persist(lambda: ask(client, url), 3, 1.0, announce=lambda failure, wait_s: announced.append((str(failure), wait_s)))
    assert announced == [("ConnectError", wait) for wait in waits] and len(waits) == 2


def test_waits_are_bounded(waits):
    def attempt() -> None:
        raise TryAgain("busy")

    with pytest.raises(TryAgain):
        persist(attempt, tries=2000, first_wait_s=1.0)
    assert len(waits) == 1999 and http.LONGEST_WAIT_S <= max(waits) <= http.LONGEST_WAIT_S * (1 + http.JITTER)


def test_a_server_is_given_the_time_it_asks_for_but_not_any(waits):
    answers = [(429, "", {"Retry-After": "90"}), (503, "", {"Retry-After": "1e9"})]
    with scripted(lambda _, number: answers[number]) as server, Client(5) as client, pytest.raises(TryAgain) as failure:
        persist(lambda: ask(client, server.url), tries=9, first_wait_s=1.0)
    assert waits == [90] and failure.value.retry_after_s == 1e9


def test_progress_begins_a_new_row(waits, monkeypatch):
    monkeypatch.setattr(http, "JITTER", 0.0)
    sizes = iter([0, 0, 0, 5, 5, 5, 5])  # before the first try, and after each

    def attempt() -> None:
        raise TryAgain("cut")

    with pytest.raises(TryAgain):
        persist(attempt, tries=4, first_wait_s=1.0, progress=lambda: next(sizes))
    assert waits == [1, 2, 1, 2, 4]


def test_what_is_no_failure_of_the_network_is_raised_at_once(waits):
    with pytest.raises(ZeroDivisionError):
        persist(lambda: 1 // 0, tries=3, first_wait_s=1.0)
    assert not waits


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("", 0), ("7", 7), ("1.5", 1.5), ("-3", 0), ("inf", 0), ("soon", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)
def test_retry_after(value, seconds):
    assert http.retry_after(value) == seconds
    assert 25 < http.retry_after(formatdate(time.time() + 30, usegmt=True)) <= 30


def test_reasons_hold_no_secret():
    assert "hunter2" not in str(TryAgain("http://me:hunter2@host/x does not answer"))


def test_proxies_come_from_the_environment(monkeypatch):
    with scripted(lambda *_: (200, "by proxy")) as server, monkeypatch.context() as patch:
        patch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
        patch.delenv("NO_PROXY", raising=False)
        patch.delenv("no_proxy", raising=False)
        with Client(5) as client, client.stream("POST", "http://nowhere.invalid/v1/chat/completions", words, json={}) as response:
            assert response.status_code in (200, 404)  # it came there: the name itself resolves nowhere

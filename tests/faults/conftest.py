"""What the tests of downloads start from: a server of files on loopback, and waits that are over at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from iqaflow.sources import transfer
from tests.faults.file_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(transfer, "WAIT_SECONDS", 0.001)

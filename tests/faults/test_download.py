"""One file from a real server on loopback: broken off, killed, changed, damaged, refused, out of reach, too large."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from iqaflow.core.clients import http
from iqaflow.core.errors import NoSpaceError, PipelineError, StageError
from iqaflow.sources import transfer
from tests.faults.file_server import Checkout, Server, photographs, zipped

pytestmark = pytest.mark.usefixtures("impatient")


DATA = np.random.default_rng(1).bytes(300_000)


def fetch(server: Server, path: Path, **wanted) -> str:
    with transfer.client() as http:
        return transfer.fetch(http, server.url("file"), path, **wanted)


def test_a_broken_connection_is_continued(server, tmp_path):
    server.files["file"] = DATA
    server.cut = [100_000, 50_000, 0, 0, 0]
    assert (
        fetch(server, tmp_path / "file", sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA))
        == hashlib.sha256(DATA).hexdigest()
    )
    assert (tmp_path / "file").read_bytes() == DATA and [path.name for path in tmp_path.iterdir()] == ["file"]
    starts = [wanted for _, wanted in server.asked]
    assert starts[0] is None and all(wanted.startswith("bytes=") for wanted in starts[1:]) and len(starts) == 6
    assert server.sent == len(DATA), "no byte came twice"


def test_a_server_without_ranges_starts_afresh(server, tmp_path):
    server.files["file"] = DATA
    server.cut, server.ranges = [100_000], False
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA and server.sent == len(DATA) + 100_000


def test_a_file_that_changed_meanwhile_is_not_stitched_together(server, tmp_path, monkeypatch):
    server.files["file"] = DATA
    server.cut = [100_000]
    monkeypatch.setattr(transfer, "TRIES", 1)
    with pytest.raises(PipelineError, match=r"cannot be downloaded .*: check the network and run the same command again"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size == 100_000
    server.files["file"] = newer = DATA[::-1]
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == newer and server.asked[-1] == ("file", "bytes=100000-")


def test_killed_between_the_last_byte_and_the_rename(server, tmp_path):
    server.files["file"] = DATA
    fetch(server, tmp_path / "file")
    os.replace(tmp_path / "file", tmp_path / "file.part")
    tag = f'"{hashlib.md5(DATA).hexdigest()}"'
    (tmp_path / "file.part.json").write_text(json.dumps({"url": server.url("file"), "version": tag}))
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA and server.sent == len(DATA)
    (tmp_path / "file.part").write_bytes(DATA + b"too long")
    (tmp_path / "file.part.json").write_text(json.dumps({"url": server.url("file"), "version": tag}))
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA
    (tmp_path / "file.part").write_bytes(b"of unknown origin")  # no note beside it: not trusted
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize(
    "wanted, words",
    [
        ({"sha256": "0" * 64}, "has sha256 .* instead of 0000"),
        ({"md5": "0" * 32}, "has md5 .* instead of 0000"),
        ({"size": 5}, "is 300000 bytes, but the catalogue says 5"),
    ],
)
def test_wrong_content_is_refused(server, tmp_path, wanted, words):
    server.files["file"] = DATA
    with pytest.raises(StageError, match=words):
        fetch(server, tmp_path / "file", **wanted)
    assert list(tmp_path.iterdir()) == [], "nothing is left that could be taken for it"


def test_a_right_md5_is_enough(server, tmp_path):
    server.files["file"] = DATA
    assert fetch(server, tmp_path / "file", md5=hashlib.md5(DATA).hexdigest()) == hashlib.sha256(DATA).hexdigest()


def test_servers_that_are_not_well(server, tmp_path):
    server.files["file"] = DATA
    server.busy = [503, 429, 500]
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == DATA and len(server.asked) == 4
    server.busy = [404]
    with pytest.raises(StageError, match="answers 404 Not Found: the file is no longer there; check the address"):
        fetch(server, tmp_path / "other")
    server.busy = [403]
    with pytest.raises(StageError, match="answers 403 Forbidden: the server refuses it"):
        fetch(server, tmp_path / "other")
    assert len(server.asked) == 6, "not tried again: it would be the same"
    server.busy = [503] * 99
    with pytest.raises(PipelineError, match="the server answers 503"):
        fetch(server, tmp_path / "other")
    assert len(server.asked) == 6 + transfer.TRIES


def test_waits_grow(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer, "WAIT_SECONDS", 1.0)
    monkeypatch.setattr(http, "JITTER", 0.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    server.busy = [503] * 99
    with pytest.raises(PipelineError):
        fetch(server, tmp_path / "file")
    assert waits == [1, 2, 4, 8, 16]


def test_no_network_is_one_sentence(tmp_path):
    with transfer.client() as http, pytest.raises(PipelineError, match=r"127.0.0.1:9/x cannot be downloaded \(ConnectError"):
        transfer.fetch(http, "http://127.0.0.1:9/x", tmp_path / "x")


def test_too_large_for_the_disk_is_said_before(server, tmp_path):
    server.files["file"], server.claim = DATA, 10**16
    with pytest.raises(NoSpaceError, match=r"needs 10000000.0 GB, but .* has only .* GB free: free some disk space"):
        fetch(server, tmp_path / "file")


PROGRAM = """
import sys, resource
from pathlib import Path
from iqaflow.core import config
from iqaflow.sources import download
from iqaflow.core.errors import exit_code, sentence
from iqaflow.core.workspace import Workspace
if len(sys.argv) > 2:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
source = config.load(overrides=("source.kind=download", "source.catalogue=ours.yaml")).source
try:
    print(len(download.bring(source, Workspace(Path(sys.argv[1]))).files))
except Exception as error:
    print(exit_code(error), sentence(error))
"""


def test_full_disk_is_one_sentence_and_loses_nothing(server, tmp_path):
    server.files["file.zip"] = zipped({**photographs(3), "big.png": DATA})
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "work"), "200000"], capture_output=True, text=True)
    assert done.stdout.startswith("3 No space left while writing") and "free some disk space" in done.stdout, done.stderr
    assert (checkout.home / ".file.download.part").stat().st_size == 200_000
    assert len(checkout.index().photographs) == 3
    assert server.asked[-1] == ("file.zip", "bytes=200000-")


def test_a_killed_download_goes_on(server, tmp_path):
    """Kill -9 in the middle of the transfer; the next run asks for the rest only."""
    server.files["file.zip"] = zipped({**photographs(3), "noise.bin": np.random.default_rng(2).bytes(1 << 20)})
    server.pause = 0.02
    checkout = Checkout(tmp_path / "work", [{"url": server.url("file.zip")}])
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "work")], stdout=subprocess.DEVNULL)
    part = checkout.home / ".file.download.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 100_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    here, server.pause = part.stat().st_size, 0.0
    assert here < len(server.files["file.zip"])
    found = checkout.index()
    assert len(found.photographs) == 3 and server.asked[-1] == ("file.zip", f"bytes={here}-")

"""The registered model behind `mlflow models serve`, as clients and strangers meet it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import iqaflow
from iqaflow.data.images import encode_png
from iqaflow.serve import limits

PIXELS = np.random.default_rng(0).integers(0, 255, (72, 96, 3), np.uint8)
JSON = {"Content-Type": "application/json"}


def text(pixels: np.ndarray = PIXELS) -> str:
    return base64.b64encode(encode_png(pixels)).decode()


def frame(*rows: dict) -> dict:
    return {"dataframe_records": list(rows)}


def nested(depth: int) -> str:
    return '{"dataframe_split": {"columns": ["image"], "data": ' + "[" * depth + "]" * depth + "}}"


def bomb(side: int) -> str:
    """A PNG of side x side pixels in a few kilobytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")).decode()


@pytest.fixture(scope="module")
def server(registered, tmp_path_factory) -> Iterator[tuple[int, Path]]:
    """Its port and its log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("served") / "log"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "IQAFLOW_MAX_REQUEST_MIB": "12",
    }
    for name in ("PYTHONPATH", "IQAFLOW_IMAGE_PATHS"):  # the package's code is in the model
        environment.pop(name, None)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mlflow",
                "models",
                "serve",
                "-m",
                str(registered),
                "--env-manager",
                "local",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ],
            cwd=log.parent,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 100
        while not reachable(port):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield port, log
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def ask(server):
    def asked(body: dict | str | bytes, headers: dict[str, str] = JSON) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", server[0], timeout=60)
        connection.request("POST", "/invocations", json.dumps(body) if isinstance(body, dict) else body, headers)
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    return asked


@pytest.fixture(scope="module")
def assessor(registered):
    return iqaflow.load(registered / "artifacts")


def same(answer: str | dict, expected: dict) -> None:
    """Equal but for the time taken and the folder the model was loaded from."""
    found = json.loads(answer) if isinstance(answer, str) else answer
    parts = [{key: value for key, value in one.items() if key not in ("timing_ms", "model")} for one in (found, expected)]
    assert parts[0] == json.loads(json.dumps(parts[1]))


MASK = np.zeros((72, 96), bool)
MASK[10:40, 20:60] = True
OPTIONS = [
    ({}, {}),
    ({"region": [5, 6, 50, 60]}, {"region": (5, 6, 50, 60)}),
    ({"region": "5,6,50,60.5"}, {"region": (5, 6, 50, 60.5)}),
    ({"point": [40, 30], "phrase": "the wall"}, {"point": (40, 30), "phrase": "the wall"}),
    ({"mask": MASK.astype(int).tolist()}, {"mask": MASK}),
    ({"mask": text(np.repeat(MASK[..., None] * np.uint8(255), 3, 2))}, {"mask": MASK}),
    ({"question": "Is this image blurred?"}, {"question": "Is this image blurred?"}),
    ({"reference": text(PIXELS[::-1])}, {"reference": encode_png(PIXELS[::-1])}),
]


@pytest.mark.parametrize(("columns", "options"), OPTIONS, ids=[next(iter(columns), "image") for columns, _ in OPTIONS])
def test_every_option_answers_as_the_assessor_does(ask, assessor, columns, options):
    status, answer = ask(frame({"image": text(), **columns}))
    assert status == 200, answer
    same(answer["predictions"][0], assessor.assess(encode_png(PIXELS), **options))


def test_two_images_are_compared(ask, assessor):
    status, answer = ask(frame({"image": text(), "compare_with": text(PIXELS[::-1])}))
    assert status == 200, answer
    same(answer["predictions"][0], assessor.compare(encode_png(PIXELS), encode_png(PIXELS[::-1])))


@pytest.mark.parametrize(
    "shape",
    [
        lambda cell: {"dataframe_split": {"columns": ["image"], "data": [[cell]]}},
        lambda cell: frame({"image": cell}),
        lambda cell: {"instances": [{"image": cell}]},
        lambda cell: {"inputs": [{"image": cell}]},
    ],
    ids=["split", "records", "instances", "inputs"],
)
def test_arrays_and_text_in_each_of_mlflows_shapes(ask, assessor, shape):
    for cell, image in ((PIXELS.tolist(), PIXELS), (f"data:image/png;base64,{text()}", encode_png(PIXELS))):
        status, answer = ask(shape(cell))
        assert status == 200, answer
        same(answer["predictions"][0], assessor.assess(image))


def test_python_takes_arrays_bytes_and_paths(registered, assessor, tmp_path):
    import mlflow.pyfunc

    path = tmp_path / "a.png"
    path.write_bytes(encode_png(PIXELS))
    loaded = mlflow.pyfunc.load_model(str(registered))
    answers = loaded.predict(
        pd.DataFrame(
            {
                "image": [PIXELS, path.read_bytes(), str(path), None],
                "region": [None] * 3 + ["a"],
                "mask": [MASK, None, None, None],
            }
        )
    )
    same(answers[0], assessor.assess(PIXELS, mask=MASK))
    same(answers[1], assessor.assess(path.read_bytes()))
    same(answers[2], assessor.assess(path))
    assert json.loads(answers[3]) == {"schema": "iqaflow.assessment/1", "error": "The column `image` is empty."}
    assert loaded.predict(pd.DataFrame({"image": []})) == []


GOOD = {"image": text()}
JPEG = io.BytesIO()
Image.fromarray(PIXELS).save(JPEG, "JPEG")
BAD_ROWS = {
    "broken": ({"image": base64.b64encode(JPEG.getvalue()[:700]).decode()}, "cannot be decoded"),
    "bomb": ({"image": bomb(9_000)}, "above the limit of 60000000"),
    "larger bomb": ({"image": bomb(14_000)}, "more pixels than Pillow accepts"),
    "bomb as mask": ({**GOOD, "mask": bomb(9_000)}, "above the limit"),
    "text": ({"image": "not base64!"}, "no base64 text"),
    "svg": ({"image": base64.b64encode(b"<svg/>").decode()}, "not an image of a known format"),
    "path": ({"image": "/etc/passwd"}, "paths are not read here"),
    "path as mask": ({**GOOD, "mask": "/etc/passwd"}, "paths are not read here"),
    "number": ({"image": 7}, "(height, width, 3)"),
    "object": ({"image": {"a": [1]}}, "neither base64 text nor an array"),
    "ragged": ({"image": [[[1, 2, 3]], [[1, 2]]]}, "neither base64 text nor an array"),
    "not colours": ({"image": [[[1, 2, 300]] * 9] * 9}, "0 to 255"),
    "one pixel": ({"image": [[[1, 2, 3]]]}, "under 8 px"),
    "nan": ({"image": float("nan")}, "is empty"),
    "region outside": ({**GOOD, "region": [0, 0, 97, 72]}, "inside the image of 96x72"),
    "region of nan": ({**GOOD, "region": [float("nan"), 0, 9, 9]}, "must hold 4 numbers"),
    "region of three": ({**GOOD, "region": [1, 2, 3]}, "must hold 4 numbers"),
    "point outside": ({**GOOD, "point": "96,3"}, "lies outside"),
    "two regions": ({**GOOD, "point": [1, 2], "region": [1, 2, 3, 4]}, "not both"),
    "mask size": ({**GOOD, "mask": [[1, 0]]}, "equal size"),
    "huge question": ({**GOOD, "question": "why " * 100_000}, "at most 1000 characters"),
    "half a character": ({**GOOD, "question": "\ud800"}, "surrogates not allowed"),
    "question is a list": ({**GOOD, "question": ["a"]}, "must hold Unicode text"),
    "compare a region": ({**GOOD, "compare_with": text(), "region": [1, 2, 3, 4]}, "leave out region"),
}
BAD_BODIES = {
    "too large": (frame({"image": "A" * (13 * 2**20)}), JSON, 413, "above the limit of 12 MiB"),
    "too many lists": ('{"inputs": [{"image": [' + "[]," * 1_000_000 + "[]]}]}", JSON, 413, "more than 1000000 lists"),
    "too many fields": ("{" + ",".join(f'"{key}":0' for key in range(350_000)) * 3 + "}", JSON, 413, "more than 1000000"),
    "deep": (nested(100_000), JSON, 400, "nested too deeply"),
    "deep cell": (nested(500), JSON, 400, ""),
    "not JSON": ('{"dataframe_split": ' + "secret" * 1000, JSON, 400, "is not JSON"),
    "not UTF-8": (b"\xff\xfe{}", JSON, 400, "is not JSON"),
    "nothing": ("", JSON, 400, "is not JSON"),
    "a list": ("[1]", JSON, 400, "list"),
    "endless number": (f'{{"inputs": [{{"image": {"1" * 5000}}}]}}', JSON, 400, "cannot be read"),
    "unknown key": ({"rows": [1]}, JSON, 400, "dataframe_split"),
    "no image column": (frame({"picture": text()}), JSON, 400, "missing inputs ['image']"),
    "chat": ({"messages": [{"role": "user", "content": "hello"}]}, JSON, 400, "missing inputs"),
    "no rows": ({"dataframe_split": {"columns": ["image"], "data": []}}, JSON, 400, "has 0 rows"),
    "too many rows": (frame(*[GOOD] * 33), JSON, 400, "has 33 rows"),
    "all rows bad": (frame({"image": "?"}, {"image": "!"}), JSON, 400, "None of the 2 rows"),
    "same column twice": ({"dataframe_split": {"columns": ["image", "image"], "data": [["", ""]]}}, JSON, 400, ""),
    "CSV": ("image\nx\n", {"Content-Type": "text/csv"}, 415, "must be application/json"),
    "parquet": (b"PAR1", {"Content-Type": "application/vnd.apache.parquet"}, 415, "must be application/json"),
    "no content type": (frame(GOOD), {}, 415, "must be application/json"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_cannot_be_used_is_400_and_one_sentence(ask, name):
    row, says = BAD_ROWS[name]
    is_a_sentence(*ask(frame(row)), 400, says)


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_cannot_be_used_is_4xx_and_one_sentence(ask, name):
    body, headers, status, says = BAD_BODIES[name]
    is_a_sentence(*ask(body, headers), status, says)


def is_a_sentence(status: int, answer: dict, expected: int, says: str) -> None:
    assert status == expected and set(answer) == {"error_code", "message"}, answer
    message = answer["message"]
    assert says in message and len(message) < 400 and "\n" not in message
    assert "Traceback" not in message and 'File "' not in message and "secret" not in message


def test_good_rows_beside_bad_ones_are_answered(ask, assessor):
    status, answer = ask(frame(GOOD, {"image": "?"}, GOOD))
    assert status == 200
    good, bad, again = map(json.loads, answer["predictions"])
    same(good, assessor.assess(encode_png(PIXELS)))
    same(again, assessor.assess(encode_png(PIXELS)))
    assert bad == {"schema": "iqaflow.assessment/1", "error": "The column `image` holds no base64 text; paths are not read here."}


def test_a_fault_of_the_model_is_the_servers(monkeypatch):
    """The one 5xx: `predict` fails for a reason nobody foresaw."""
    from mlflow.models import Model
    from mlflow.pyfunc import scoring_server

    class Broken:
        metadata = Model()

        def predict(self, data, params=None):
            raise MemoryError("a secret of the machine")

    monkeypatch.setattr(scoring_server, "invocations", scoring_server.invocations)
    limits.install()
    found = scoring_server.invocations(json.dumps(frame(GOOD)).encode(), "application/json", Broken(), None)
    assert found.status == 500 and "server's log" in found.response and "secret" not in found.response


def test_the_server_is_well_afterwards(ask, server):
    """Last: no request left a traceback, and a good one is still answered."""
    assert ask(frame(GOOD))[0] == 200
    assert "Traceback" not in server[1].read_text()

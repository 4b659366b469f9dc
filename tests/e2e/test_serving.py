"""A model behind `iqaflow serve` and behind `mlflow models serve`, as clients and strangers meet it."""

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
from pydantic import TypeAdapter

import iqaflow
from iqaflow.data.images import encode_png
from iqaflow.infer.schema import Assessment, Comparison
from iqaflow.serve.request import COLUMNS

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


@pytest.fixture(scope="module", params=["iqaflow", "mlflow"])
def server(request, registered, tmp_path_factory) -> Iterator[tuple[int, Path]]:
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
    environment.pop("IQAFLOW_IMAGE_PATHS", None)
    if request.param == "mlflow":
        environment.pop("PYTHONPATH", None)  # the package's code is in the model
        command = ["mlflow", "models", "serve", "-m", str(registered), "--env-manager", "local", "--host", "127.0.0.1"]
    else:
        command = ["iqaflow.cli", "serve", "--model", str(registered / "artifacts")]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port)],
            cwd=log.parent,
            env=environment,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 300  # beside other work
        while "Application startup complete" not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield port, log
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def send(port: int, method: str, path: str, body: str | bytes | None = None, headers: dict[str, str] | None = None):
    """Status and bytes of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


@pytest.fixture
def ask(server):
    def asking(body: dict | str | bytes, headers: dict[str, str] = JSON, path: str = "/invocations") -> tuple[int, dict]:
        status, answer = send(server[0], "POST", path, json.dumps(body) if isinstance(body, dict) else body, headers)
        return status, json.loads(answer)

    return asking


@pytest.fixture(scope="module")
def assessor(registered):
    return iqaflow.load(registered / "artifacts")


def same(answer: str | dict, expected: dict) -> None:
    """Equal but for the time taken and the folder the model was loaded from."""
    given = json.loads(answer) if isinstance(answer, str) else answer
    parts = [{key: value for key, value in result.items() if key not in ("timing_ms", "model")} for result in (given, expected)]
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
    "half a character": ({**GOOD, "question": "\ud800"}, "must hold Unicode text"),
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
    "a list": ("[1]", JSON, 400, "cannot be used"),
    "a list as rows": ({"inputs": [[1]]}, JSON, 400, "cannot be used (inputs"),
    "two tables": ({**frame(GOOD), "inputs": []}, JSON, 400, "dataframe_split"),
    "short rows": ({"dataframe_split": {"columns": ["image", "a"], "data": [["b"]]}}, JSON, 400, "as many cells as columns"),
    "no columns": ({"dataframe_split": {"data": [["b"]]}}, JSON, 400, "missing inputs ['image']"),
    "columns are lists": ({"dataframe_split": {"columns": [[]], "data": [["b"]]}}, JSON, 400, "cannot be used"),
    "endless number": (f'{{"inputs": [{{"image": {"1" * 5000}}}]}}', JSON, 400, "cannot be read"),
    "unknown key": ({"rows": [1]}, JSON, 400, "dataframe_split"),
    "no image column": (frame({"picture": text()}), JSON, 400, "missing inputs ['image']"),
    "chat": ({"messages": [{"role": "user", "content": "hello"}]}, JSON, 400, "dataframe_split"),
    "no rows": ({"dataframe_split": {"columns": ["image"], "data": []}}, JSON, 400, "has 0 rows"),
    "too many rows": (frame(*[GOOD] * 33), JSON, 400, "has 33 rows"),
    "all rows bad": (frame({"image": "?"}, {"image": "!"}), JSON, 400, "None of the 2 rows"),
    "same column twice": ({"dataframe_split": {"columns": ["image", "image"], "data": [["", ""]]}}, JSON, 400, "the same name"),
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


def test_a_row_alone_is_inputs_too(ask, assessor):
    status, answer = ask({"inputs": GOOD})
    assert status == 200, answer
    same(answer["predictions"][0], assessor.assess(encode_png(PIXELS)))


@pytest.mark.parametrize(("columns", "options"), OPTIONS, ids=[next(iter(columns), "image") for columns, _ in OPTIONS])
def test_one_image_is_assessed_as_plain_json(ask, assessor, columns, options):
    status, answer = ask({**GOOD, **columns}, path="/assess")
    assert status == 200, answer
    TypeAdapter(Assessment).validate_python(answer, strict=True)
    same(answer, assessor.assess(encode_png(PIXELS), **options))


def test_two_images_are_compared_as_plain_json(ask, assessor):
    status, answer = ask({**GOOD, "compare_with": text(PIXELS[::-1])}, path="/compare")
    assert status == 200, answer
    TypeAdapter(Comparison).validate_python(answer, strict=True)
    same(answer, assessor.compare(encode_png(PIXELS), encode_png(PIXELS[::-1])))


def form(files: dict[str, bytes], **words: str) -> tuple[bytes, dict[str, str]]:
    """Body and header of a form, as a browser or curl -F sends it."""
    parts = [(f'name="{name}"; filename="a.png"', data) for name, data in files.items()]
    parts += [(f'name="{name}"', word.encode()) for name, word in words.items()]
    body = b"".join(
        b"--edge\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts
    )
    return body + b"--edge--\r\n", {"Content-Type": "multipart/form-data; boundary=edge"}


def test_a_form_uploads_files(ask, assessor):
    white = encode_png(np.repeat(MASK[..., None] * np.uint8(255), 3, 2))
    status, answer = ask(
        *form({"image": encode_png(PIXELS), "mask": white}, phrase="the wall", question="Why?"), "/assess/upload"
    )
    assert status == 200, answer
    same(answer, assessor.assess(encode_png(PIXELS), mask=MASK, phrase="the wall", question="Why?"))
    status, answer = ask(*form({"image": encode_png(PIXELS)}, point="40,30"), "/assess/upload")
    same(answer, assessor.assess(encode_png(PIXELS), point=(40, 30)))


BAD_ALONE = {
    "no image": ("/assess", {}, JSON, 400, "(image: Field required)"),
    "empty image": ("/assess", {"image": ""}, JSON, 400, "is empty"),
    "a misspelt field": ("/assess", {**GOOD, "regoin": [1, 2, 3, 4]}, JSON, 400, "(regoin: Extra inputs are not permitted)"),
    "a field of two lines": ("/assess", {**GOOD, "a\nb": 1}, JSON, 400, "(a b: "),
    "path": ("/assess", {"image": "/etc/passwd"}, JSON, 400, "paths are not read here"),
    "bomb": ("/assess", {"image": bomb(9_000)}, JSON, 400, "above the limit of 60000000"),
    "region outside": ("/assess", {**GOOD, "region": [0, 0, 97, 72]}, JSON, 400, "inside the image of 96x72"),
    "not JSON": ("/assess", "{", JSON, 400, 'is not JSON: send JSON such as {"image": "BASE64"}'),
    "nothing": ("/assess", "", JSON, 400, "is not JSON"),
    "a list": ("/assess", "[]", JSON, 400, "cannot be used"),
    "text": ("/assess", json.dumps(GOOD), {"Content-Type": "text/plain"}, 415, "must be application/json"),
    "a form": ("/assess", *form({"image": encode_png(PIXELS)}), 415, "must be application/json"),
    "too large": ("/assess", {"image": "A" * (13 * 2**20)}, JSON, 413, "has 13.0 MiB, above the limit of 12 MiB"),
    "one of two": ("/compare", GOOD, JSON, 400, "(compare_with: Field required)"),
    "compare a region": ("/compare", {**GOOD, "compare_with": text(), "region": [1, 2, 3, 4]}, JSON, 400, "(region: "),
    "no file": ("/assess/upload", *form({}, phrase="the wall"), 400, "(image: "),
    "no picture": ("/assess/upload", *form({"image": b"<svg/>"}), 400, "not an image of a known format"),
    "words for a file": ("/assess/upload", *form({}, image="a.png"), 400, "(image: "),
    "large form": ("/assess/upload", *form({"image": bytes(13 * 2**20)}), 413, "above the limit of 12 MiB"),
    "no form": ("/assess/upload", GOOD, JSON, 400, "(image: "),
    "torn form": ("/assess/upload", b"--edge\r\nx", {"Content-Type": "multipart/form-data; boundary=edge"}, 400, ""),
    "nowhere": ("/nothing", {}, JSON, 404, "Not Found"),
    "openapi": ("/openapi.json", {}, JSON, 405, "Method Not Allowed"),
}


@pytest.mark.parametrize("name", BAD_ALONE)
def test_what_the_other_routes_cannot_use_is_4xx_and_one_sentence(ask, name):
    path, body, headers, status, says = BAD_ALONE[name]
    is_a_sentence(*ask(body, headers, path), status, says)


def test_openapi_has_the_schemas_of_requests_and_results(server):
    status, body = send(server[0], "GET", "/openapi.json")
    api = json.loads(body)
    assert status == 200 and api["info"]["title"] == "iqaflow"
    assert set(api["paths"]) == {
        "/assess", "/assess/upload", "/compare", "/invocations", "/ping", "/health", "/version",
    }  # fmt: skip
    schemas = api["components"]["schemas"]
    for result in (Assessment, Comparison):
        wanted = json.dumps(TypeAdapter(result).json_schema(ref_template="#/components/schemas/{model}"))
        wanted = json.loads(wanted)
        parts = wanted.pop("$defs")
        assert {name: schemas[name] for name in parts} == parts and schemas[result.__name__] == wanted
    posts = {path: routes["post"] for path, routes in api["paths"].items() if "post" in routes}

    def of(holder: dict) -> str:
        [(_, content)] = holder["content"].items()
        return content["schema"]["$ref"].rpartition("/")[2]

    assert {path: (of(post["requestBody"]), of(post["responses"]["200"])) for path, post in posts.items()} == {
        "/assess": ("AssessRequest", "Assessment"),
        "/compare": ("CompareRequest", "Comparison"),
        "/assess/upload": ("Body_upload_assess_upload_post", "Assessment"),
        "/invocations": ("Table", "Predictions"),
    }
    assert all(of(post["responses"][status]) == "Refusal" for post in posts.values() for status in ("400", "413", "415", "503"))
    assert set(schemas["Row"]["properties"]) == set(COLUMNS)
    assert "422" not in posts["/assess"]["responses"]


def test_health_and_the_protocols_version(server):
    import mlflow

    assert send(server[0], "GET", "/ping") == send(server[0], "GET", "/health") == (200, b"\n")
    assert send(server[0], "GET", "/version") == (200, mlflow.__version__.encode())
    assert send(server[0], "GET", "/docs")[0] == 404  # it would load scripts from another host


@pytest.mark.parametrize("path", ["/invocations", "/assess", "/assess/upload", "/ping", "/openapi.json", "/nothing"])
@pytest.mark.parametrize(
    "forged",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_the_doorkeeper_stands_before_every_route(server, path, forged):
    method = "GET" if path in ("/ping", "/openapi.json") else "POST"
    status, answer = send(server[0], method, path, json.dumps(frame(GOOD)) if method == "POST" else None, {**JSON, **forged})
    assert status == 403 and answer.count(b"\n") == 1, answer
    assert b"refused" in answer or b"does not answer to this Host" in answer


def test_answers_may_not_be_framed(server):
    for path in ("/ping", "/openapi.json", "/nothing"):
        connection = http.client.HTTPConnection("127.0.0.1", server[0], timeout=60)
        connection.request("GET", path)
        headers = connection.getresponse().headers
        assert "frame-ancestors 'self'" in headers["content-security-policy"], path
        assert headers["cross-origin-resource-policy"] == "same-origin"
        connection.close()


def test_an_mlflow_whose_server_is_another_answers_nothing(registered, monkeypatch):
    """Where its application is not ours, no request would meet the doorkeeper or the limits."""
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(str(registered))
    monkeypatch.setitem(sys.modules, "mlflow.pyfunc.scoring_server.app", sys)
    with pytest.raises(RuntimeError, match="use `iqaflow serve`"):
        loaded.predict(pd.DataFrame({"image": [text()]}))


def test_the_server_is_well_afterwards(ask, server):
    """Last: no request left a traceback, and a good one is still answered."""
    assert ask(frame(GOOD))[0] == 200
    assert "Traceback" not in server[1].read_text()

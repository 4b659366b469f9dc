"""The HTTP back end against a server that misbehaves by a script, and against a real model in a real server process."""

from __future__ import annotations

import base64
import io
import json
import socket
import subprocess
import sys
import time
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow.annotate import teachers
from iqaflow.annotate.grounding.objects import YesNo
from iqaflow.annotate.teachers import Question, http
from iqaflow.core.config.schema import Teacher
from iqaflow.core.errors import ConfigError, InputError, PipelineError
from iqaflow.core.workspace import Workspace
from tests.chat_server import completion, scripted

ROOT = Path(__file__).parents[2]
YES = '{"answer": "yes"}'
ASKED = Question("test/1", "Is it?", YesNo)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(http, "FIRST_WAIT_S", 0.01)
    monkeypatch.delenv(http.KEY, raising=False)


def backend(server, tmp_path, **options):
    return http.Backend(Teacher(kind="http", url=server.url, model="m", **{"timeout_s": 5, **options}), Workspace(tmp_path))


def teacher(server, tmp_path, **options):
    return teachers.of(Teacher(kind="http", url=server.url, model="m", **{"timeout_s": 5, **options}), Workspace(tmp_path))


def test_request_is_the_openai_format(tmp_path, monkeypatch):
    monkeypatch.setenv(http.KEY, "secret-key")
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    with scripted(lambda *_: YES) as server:
        said = backend(server, tmp_path, max_tokens=33).write("Is it?", [image], YesNo.model_json_schema())
    request = server.requests[0]
    picture, text = request["messages"][0]["content"]
    assert said.text == YES and said.confidence is None
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("m", 33, 0.0)
    assert text == {"type": "text", "text": "Is it?"}
    data = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(data))) == image).all()
    assert request["response_format"]["json_schema"]["schema"]["properties"]["answer"]["enum"] == ["yes", "no"]
    assert server.headers[0]["Authorization"] == "Bearer secret-key"


def test_probabilities_become_the_confidence(tmp_path):
    logs = {"content": [{"logprob": 0.0}, {"logprob": float(np.log(0.5))}]}
    with scripted(lambda *_: (200, completion(YES, logprobs=logs))) as server:
        assert backend(server, tmp_path).write("?", [], {}).confidence == pytest.approx(0.75)


def test_a_server_without_the_extras_is_asked_plainly_from_then_on(tmp_path):
    with scripted(lambda request, _: (422, '{"detail": "logprobs?"}') if "logprobs" in request else YES) as server:
        one = backend(server, tmp_path)
        assert [one.write("?", [], {}).text for _ in range(3)] == [YES] * 3
    assert ["logprobs" in request for request in server.requests] == [True, False, False, False]


def test_busy_servers_are_tried_again_with_growing_waits(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(http.time, "sleep", waits.append)
    answers = [
        (503, "busy"),
        (500, "<html>oops"),
        (429, "slow down", {"Retry-After": "7"}),
        (429, "", {"Retry-After": formatdate(time.time() + 30, usegmt=True)}),
        YES,
    ]
    with scripted(lambda _, number: answers[number]) as server:
        assert backend(server, tmp_path, retries=4).write("?", [], {}).text == YES
    assert 0.01 <= waits[0] <= 0.015 and 0.02 <= waits[1] <= 0.03 and waits[2] == 7 and 27 <= waits[3] <= 30


def test_giving_up_is_one_sentence(tmp_path):
    with scripted(lambda *_: (503, '{"error": {"message": "model is loading"}}')) as server:
        with pytest.raises(PipelineError, match=r"does not answer, 3 tries: HTTP 503 model is loading\. Start the server"):
            backend(server, tmp_path, retries=2).write("?", [], {})
        assert len(server.requests) == 3
    with scripted(lambda *_: (429, "", {"Retry-After": "3600"})) as server, pytest.raises(PipelineError, match="to wait 3600 s"):
        backend(server, tmp_path).write("?", [], {})
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(PipelineError, match="2 tries: no connection"):
        backend(server, tmp_path, retries=1).write("?", [], {})


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, r"refuses the key \(HTTP 401\): set IQAFLOW_TEACHER_KEY"),
        (403, "refuses the key"),
        (404, r"no such address or no model 'm' \(HTTP 404\): correct annotate\.teacher\.url"),
        (400, r"refuses the request \(HTTP 400\): too long a prompt"),
        (301, r"refuses the request \(HTTP 301\)"),
    ],
)
def test_what_can_never_work_is_not_tried_again(tmp_path, monkeypatch, status, says):
    monkeypatch.setenv(http.KEY, "secret-key")
    with scripted(lambda *_: (status, '{"error": {"message": "too long\\u0007 a\\nprompt"}}')) as server:
        with pytest.raises(InputError, match=says) as failure:
            backend(server, tmp_path).write("?", [], {})
        assert len(server.requests) == (2 if status == 400 else 1)  # 400: perhaps it was the extras
    assert "secret-key" not in str(failure.value) and "\n" not in str(failure.value)


def test_a_server_that_repeats_the_key_is_quoted_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv(http.KEY, "secret-key-of-mine")
    for words in ("bad header Authorization: Bearer secret-key-of-mine", "no user secret-key-of-mine"):
        with scripted(lambda *_: (400, words)) as server, pytest.raises(InputError, match=r"HTTP 400\): .*\*\*\*") as failure:
            backend(server, tmp_path).write("?", [], {})
        assert "secret-key" not in str(failure.value)


def _drip(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    try:
        for _ in range(40):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass  # the client left


def _endless(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(10**9))
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 1_000_000)
    except OSError:
        pass


def _silent(handler):
    time.sleep(1.0)
    handler.close_connection = True


def _cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')
    handler.close_connection = True


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (_drip, "no whole response in 0.4 s"),
        (_endless, "more than 4000000 bytes"),
        (_silent, "no response in 0.4 s"),
        (_cut, "the connection broke"),
        ((200, "<html>hello</html>"), "not in the OpenAI format"),
        ((200, '{"choices": []}'), "not in the OpenAI format"),
        ((200, completion(7)), "not in the OpenAI format"),
    ],
)
def test_broken_responses_are_tried_again_and_never_wait_for_ever(tmp_path, said, says):
    with scripted(lambda _, number: said if number == 0 else YES) as server:
        assert backend(server, tmp_path, timeout_s=0.4, retries=1).write("?", [], {}).text == YES
    with scripted(lambda *_: said) as server, pytest.raises(PipelineError, match=says):
        backend(server, tmp_path, timeout_s=0.4, retries=0).write("?", [], {})


def test_questions_are_in_flight_together_but_not_too_many(tmp_path):
    def slow(request, _):
        time.sleep(0.05)
        return YES

    questions = [Question("test/1", f"Is it {number}?", YesNo) for number in range(24)]
    with scripted(slow) as server:
        one = teacher(server, tmp_path, concurrency=6)
        replies = one.ask(questions)
    assert [reply.value.answer for reply in replies] == ["yes"] * 24
    assert 2 <= server.most <= 6 and one.counts["written"] == 24


def test_a_failure_stops_the_rest(tmp_path):
    questions = [Question("test/1", f"Is it {number}?", YesNo) for number in range(200)]
    with scripted(lambda _, number: (401, "") if number > 3 else YES) as server:
        with pytest.raises(InputError, match="refuses the key"):
            teacher(server, tmp_path, concurrency=2).ask(questions)
        assert len(server.requests) < 20


def test_parameters_are_checked(tmp_path):
    for options, says in (
        ({"model": None}, "annotate.teacher.model is missing"),
        ({"url": "file:///etc/passwd"}, "must start with"),
    ):
        with pytest.raises(ConfigError, match=says):
            http.Backend(Teacher(kind="http", **{"model": "m", **options}), Workspace(tmp_path))


@pytest.fixture(scope="module")
def served(yes_model):
    """A real model behind uvicorn in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tests.chat_server", str(yes_model), str(port)], cwd=ROOT)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)


def test_a_real_model_behind_a_real_server(served, yes_model, tmp_path):
    from iqaflow.annotate.grounding.objects import PROMPT

    config = Teacher(kind="http", url=served, model=yes_model.name, max_tokens=16, concurrency=2)
    one = teachers.of(config, Workspace(tmp_path))
    images = np.random.default_rng(1).integers(0, 256, (3, 40, 56, 3), dtype=np.uint8)
    questions = [
        Question("filter/1", PROMPT + teachers.quoted({"object": "dog", "quality": "blurry"}), YesNo, (image,))
        for image in images
    ]
    assert [reply.value.answer for reply in one.ask(questions)] == ["yes"] * 3
    assert one.counts["written"] == 3 and not one.counts["dropped"]
    lines = [json.loads(line) for line in (tmp_path / ".iqaflow" / "teachers" / "replies.jsonl").read_text().splitlines()]
    assert len({line["key"] for line in lines}) == 3
    assert [reply.value.answer for reply in one.ask(questions)] == ["yes"] * 3
    assert one.counts["cached"] == 3
    wrong = teachers.of(config.model_copy(update={"model": "another"}), Workspace(tmp_path))
    with pytest.raises(InputError, match="no such model"):
        wrong.ask(questions[:1])

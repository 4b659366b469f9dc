"""Nothing secret passes the redactor; nothing ordinary is changed by it; long text takes linear time."""

from __future__ import annotations

import base64
import logging
import os
import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iqaflow.core.config import Config
from iqaflow.core.config import params_file as params
from iqaflow.core.errors import StageError, redacted
from iqaflow.core.security import redaction
from iqaflow.core.security.redaction import redact, redact_all

ROOT = Path(__file__).parents[2]
PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEow+/IBAAKCAQEA\n" * 20 + "-----END RSA PRIVATE KEY-----"
SHAPES = {  # text with a secret: what must be gone
    "http://me:hunter2@host/v1": "hunter2",
    "https://hunter2@host/v1": "hunter2",
    "http://:hunter2@host:80": "hunter2",
    "http://u:hunt@er2@host/x@y": "er2",
    "http://u:hunt/er2@host/x": "er2",
    "http://u:hunt?er#2@host/x": "er#2",
    "postgresql+psycopg://u:hunter2@db:5432/m": "hunter2",
    "Authorization: Bearer hunter2": "hunter2",
    "authorization: hunter2": "hunter2",
    '{"Authorization": "Basic aHVudGVyMjpodW50ZXIy"}': "aHVudGVyMjpodW50ZXIy",
    "Proxy-Authorization: Negotiate hunter2": "hunter2",
    "Authorization: AWS4-HMAC-SHA256 Credential=AKhunter, Signature=hunter2": "hunter2",
    "headers={'authorization': 'token hunter2'}": "hunter2",
    "it says Bearer hunter2.": "hunter2",
    "it says Bearer%20hunter2": "hunter2",
    "Basic bWU6aHVudGVyMg==": "bWU6aHVudGVyMg",
    "X-Api-Key: hunter2": "hunter2",
    "X-Auth-Token: hunter2": "hunter2",
    "Ocp-Apim-Subscription-Key: hunter2": "hunter2",
    "Set-Cookie: session=hunter2; Path=/": "hunter2",
    "apikey=hunter2": "hunter2",
    "api_key=hunter2": "hunter2",
    "api-key: hunter2": "hunter2",
    "passwd=hunter2": "hunter2",
    "pwd=hunter2": "hunter2",
    "token=hunter2": "hunter2",
    "secret: hunter2": "hunter2",
    "access_key = hunter2": "hunter2",
    "password: hunter2": "hunter2",
    '"password": "hunter2"': "hunter2",
    "'password': 'hunt er2'": "er2",
    r"{\"password\": \"hunter2\"}": "hunter2",
    "password%3Dhunter2": "hunter2",
    "dbPassword=hunter2": "hunter2",
    "clientSecret: 'hunter2'": "hunter2",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfi": "wJalr",
    'SecretAccessKey": "wJalrXUtnFEMI/K7MDENG"': "wJalr",
    "MY_TOKEN=hunter2": "hunter2",
    "export X_KEY=hunter2": "hunter2",
    "prefect --token hunter2": "hunter2",
    "run --db-password=hunter2": "hunter2",
    "token: hunter2abc": "hunter2abc",
    "http://h/v1?key=hunter2&a=1": "hunter2",
    "http://h/v1?a=1&amp;token=hunter2": "hunter2",
    "https://b.example/o?X-Amz-Credential=hunter2&X-Amz-Signature=abcdef0123": "abcdef0123",
    "https://a.example/o?sv=2020&sig=hunter2%3D": "hunter2",
    PEM: "MIIEow",
    PEM.replace("\n", "\\n"): "MIIEow",
    PEM.replace("\n", "\n+"): "MIIEow",
    PEM[:120]: "MIIEow",
    "AKIAIOSFODNN7EXAMPLE": "IOSFODNN7",
    "ghp_" + "a1B2" * 9: "a1B2",
    "github_pat_" + "a1B2" * 9: "a1B2",
    "glpat-" + "a1B2" * 5: "a1B2",
    "hf_" + "aBcD" * 8: "aBcD",
    "sk-proj-" + "a1B2" * 8: "a1B2",
    "xoxb-1234567890-abc": "1234567890",
    "AIza" + "a1B2" * 9: "a1B2",
    "npm_" + "a1B2" * 9: "a1B2",
    "pypi-" + "a1B2" * 9: "a1B2",
    "sk_live_" + "a1B2" * 5: "a1B2",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "c2lnbmF0dXJl",
    "https://hooks.slack.com/services/T0/B0/a1B2a1B2": "a1B2",
}
ORDINARY = [
    "4dbd22c4dbd22c4dbd22c4dbd22c4dbd22c4dbd2",
    "a" * 64,
    "tokens_per_second=1234.5",
    "train.tokens: 4096",
    "token: noise",
    "the token: blur, 0.98",
    "token: 4096",
    "tokens=12",
    "max_tokens: 400",
    "pad_token = '<pad>'",
    "key: value",
    "passes=3 pass=12",
    "basic settings",
    "Basic usage",
    "bearer of news",
    "basic read/write",
    "http://127.0.0.1:5000/#/experiments/1@2",
    "https://example.org/a@b",
    "http://[::1]:8000/a@b",
    "s3://bucket/key@1",
    "git@github.com:a/b.git",
    "PWD=/home/me/x",
    "password=$PASSWORD",
    "password: str",
    "password = os.environ['P']",
    "secret=None",
    "KEY = 'IQAFLOW_TEACHER_KEY'",
    "CACHE_KEY = 'mlflow.run'",
    "benchmark.primary: identify.accuracy_single_nr",
    "task-aaaaaaaaaaaaaaaaaaaaaaaa1",
    "a=1&b=2",
    "/opt/secrets/key.pem",
    "model.safetensors 3f2a",
    "author@example.org wrote: key",
    "monkey=banana",
    "sk-learn-is-a-long-slug-name",
]


@pytest.fixture(autouse=True)
def no_secrets_around(monkeypatch):
    for name in [name for name in os.environ if redaction.ENVIRONMENT.search(name)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("text", SHAPES)
def test_secrets_are_hidden(text):
    for around in ("{}", "before {} after", "a=1 {}\nb=2", "({})"):
        shown = redact(around.format(text) if "{" not in text else text)
        assert SHAPES[text] not in shown and redaction.HIDDEN in shown
        assert redact(shown) == shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize(
    "path",
    [ROOT / "params.yaml", ROOT / "dvc.lock", ROOT / "dvc.yaml", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda path: path.name,
)
def test_files_of_the_project_stay(path):
    assert redact(path.read_text()) == path.read_text()


def test_the_rest_of_a_sentence_stays():
    assert redact("GET http://u:p@h/v1: 401, password=hunter2, lr=0.1") == "GET http://***@h/v1: 401, password=***, lr=0.1"


@pytest.mark.parametrize(
    "value", ["Tr0ub4dor&3 <x>", "correct horse", 'qu"ote\\back', "sixteen-chars-xx", "üml/äut+==", "12345678"]
)
def test_values_of_the_environment_are_hidden_in_every_form(value, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_PASSWORD", value)
    import html
    import json

    forms = [value, quote(value), quote(value, safe=""), json.dumps(value), html.escape(value), repr(value)]
    for before in ("", "u:", "me:", "user:", "some one:"):
        forms.append(base64.b64encode(f"{before}{value}".encode()).decode())
    for form in forms:
        shown = redact(f"x {form} y")
        assert form.strip("\"'") not in shown and redaction.HIDDEN in shown, form
    assert redact("x y") == "x y"


@pytest.mark.parametrize(
    "name",
    [
        "IQAFLOW_TEACHER_KEY",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "DB_PASSWD",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_SERVER_API_AUTH_STRING",
        "MLFLOW_TRACKING_PASSWORD",
        "apikey",
        "X_CREDENTIALS",
        "GH_PAT",
        "SECRET_NAME_OF_IT",
    ],
)
def test_which_variables_hold_secrets(name, monkeypatch):
    monkeypatch.setenv(name, "zebra-crossing")
    assert redact("a zebra-crossing b") == "a *** b"


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK", "KEYBOARD", "PATH", "OMP_NUM_THREADS", "MONKEYS", "PWD"]
)
def test_which_do_not(name, monkeypatch):
    monkeypatch.setenv(name, "zebra-crossing")
    assert redact("a zebra-crossing b") == "a zebra-crossing b"


def test_a_password_inside_an_address_of_the_environment_is_known_by_itself(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:zebra%2Dcrossing@db/m")
    assert redact("wrong: zebra-crossing, zebra%2Dcrossing") == "wrong: ***, ***"


def test_a_private_key_that_comes_line_by_line():
    shown = redaction.Lines()
    text = f"before\n{PEM}\nafter MIIEow=\nMIIEowlater"
    assert "\n".join(map(shown, text.splitlines())) == "\n".join(["before", *["***"] * 22, "after MIIEow=", "MIIEowlater"])
    shown("-----BEGIN PRIVATE KEY----- is how a key begins, as everybody knows")
    assert shown("a sentence goes on") == "a sentence goes on"


def test_structures():
    record = {"op": "params", "values": {"password": "hunter2", "tokens": "4096", "url": "http://a:b@h"}, "rows": [["k", 1.5, 2]]}
    assert redact_all(record) == {
        "op": "params",
        "values": {"password": "***", "tokens": "4096", "url": "http://***@h"},
        "rows": [["k", 1.5, 2]],
    }


PIECES = st.sampled_from(
    [*SHAPES, *ORDINARY, "://", "@", "=", ": ", '"', "\\", "password", "token", "Bearer ", "?key=", "***", "\n"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES | st.text(max_size=6), max_size=8).map("".join))
@example("pwd: Bearer abc123def")
def test_doing_it_again_changes_nothing(text):
    assert redact(redact(text)) == redact(text)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(allow_nan=False),
    st.integers(),
    st.sampled_from(["scratch", "models/base-tiny", "org/model-7b@v1.0"]),
    st.text(string.ascii_letters + " .,-_/|*#`()%", max_size=40),
)
def test_parameters_and_reports_come_back(lr, seed, base, words):
    config = Config()
    tree = params.as_yaml(config.model_copy(update={"seed": seed, "train": config.train.model_copy(update={"base": base})}))
    assert redact(tree) == tree
    report = f"# Report\n\n| metric | value |\n|---|---|\n| tokens_per_second | {lr} |\n| score.srcc | {seed} |\n\n{words}\n"
    assert redact(report) == report


PIECES = (
    "a",
    "a_",
    "://",
    "://a:b/",
    "://u:p",
    "@",
    "sk-",
    "sk-a-",
    "eyJ.",
    "eyJaaaaaaaaa",
    "Bearer ",
    "bearer a",
    "password=",
    "password: ",
    'password="',
    "token: a",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN A ",
    "-----",
    '"',
    "\\",
    '\\\\"',
    "=",
    "?sig=",
    "authorization:",
    "cookie: ",
    "--token ",
    "--a-",
    "SG.a.",
    "KEY=",
    "A_KEY",
    "secret_",
    "access",
    " ",
    "\n",
    "%3D",
)


@pytest.mark.parametrize("piece", PIECES)
def test_long_hostile_text_is_read_to_its_end(piece, monkeypatch):
    """A pattern that goes back and forth would take hours here."""
    monkeypatch.setenv("SOME_TOKEN", "zebra-crossing")
    text = redact(piece * (240_000 // len(piece)) + " zebra-crossing")
    assert "zebra-crossing" not in text


def test_log_records_are_redacted_with_their_tracebacks(caplog):
    before = logging.getLogRecordFactory()
    try:
        redaction.guard_logging()
        redaction.guard_logging()
        with caplog.at_level(logging.INFO):
            logging.getLogger("x").info("to %s of %d", "http://me:hunter2@h", 3)
            try:
                raise ValueError("password=hunter2")
            except ValueError:
                logging.getLogger("x").exception("no")
    finally:
        logging.setLogRecordFactory(before)
    assert "to http://***@h of 3" in caplog.text and "ValueError: password=***" in caplog.text and "hunter2" not in caplog.text


def test_failures_keep_their_kind():
    with pytest.raises(StageError, match=r"^at http://\*\*\*@h$"), redacted():
        raise StageError("at http://u:hunter2@h")
    with pytest.raises(Exception, match=r"^KeyError: .*\*\*\*") as caught, redacted():
        raise KeyError("token=hunter2")
    assert caught.value.__suppress_context__

"""What commands tell (core/log.py): levels, JSON lines, no secrets, no commands to a terminal; results stay as they are."""

from __future__ import annotations

import json
import logging
import os
import pty
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from iqaflow.core import log
from iqaflow.core.errors import InputError
from iqaflow.core.progress import progress

ROOT = Path(__file__).parents[2]
TELL = """
import logging
from iqaflow.core import log
from iqaflow.core.progress import progress
from iqaflow.core.security import escaping

escaping.guard()
log.set_up()
logger = logging.getLogger("iqaflow.test")
for item in progress(range(3), 3, "counting"):
    if item == 1:
        logger.debug("a step")
        logger.info("a note: password=%s", "hunter2")
        logger.warning("a warning \\x1b[2J")
"""


def iqaflow(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
    )


def told(terminal: bool = False, **environment: str) -> str:
    """What the script above writes to stderr, a file or a terminal."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm-256color", **environment}
    if not terminal:
        return subprocess.run([sys.executable, "-c", TELL], env=environment, capture_output=True, text=True, check=True).stderr
    leader, follower = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", TELL], stderr=follower, env=environment)
    os.close(follower)
    seen = b""
    try:
        while part := os.read(leader, 65536):
            seen += part
    except OSError:  # the other end is closed
        os.close(leader)
    assert process.wait() == 0
    return seen.decode()


@pytest.fixture
def as_before():
    """The choices of a test end with it."""
    former = {name: os.environ.get(name) for name in (log.FORM, log.LEVEL)}
    yield
    for name, value in former.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    log.set_up()


def test_off_a_terminal_a_record_is_its_message() -> None:
    assert told() == "a note: password=***\na warning \\x1b[2J\ncounting: 3/3, 0:00 left\n"
    assert told(IQAFLOW_LOG_LEVEL="warning") == "a warning \\x1b[2J\n"
    lines = told(IQAFLOW_LOG_LEVEL="debug").splitlines()
    assert [line.split()[1:] for line in lines[:2]] == [["DEBUG", "a", "step"], ["INFO", "a", "note:", "password=***"]]


def test_json_lines() -> None:
    lines = [json.loads(line) for line in told(IQAFLOW_LOG="json").splitlines()]
    assert [set(line) for line in lines] == [{"time", "level", "logger", "message"}] * 3
    assert [(line["level"], line["logger"], line["message"]) for line in lines] == [
        ("INFO", "iqaflow.test", "a note: password=***"),
        ("WARNING", "iqaflow.test", "a warning \\x1b[2J"),
        ("INFO", "iqaflow.core.progress", "counting: 3/3, 0:00 left"),
    ]
    assert all(datetime.fromisoformat(line["time"]).tzinfo is not None for line in lines)


def test_on_a_terminal_a_line_stands_above_the_bar() -> None:
    seen = told(terminal=True)
    assert "\x1b" not in seen and "hunter2" not in seen
    before, note, _ = seen.partition("a note: password=***\r\n")
    assert note and not before.rpartition("\r")[2].strip(), "the bar is taken away before the line"
    assert seen.index("a note") < seen.rindex("3/3")
    assert told(terminal=True, IQAFLOW_LOG_LEVEL="warning") == "a warning \\x1b[2J\r\n", "no bar, no note"
    assert told(terminal=True, IQAFLOW_LOG="json").count("\r\n") == 3
    detailed = told(terminal=True, IQAFLOW_LOG_LEVEL="debug")
    assert "DEBUG" in detailed and "a step\r\n" in detailed and "\x1b[2J" not in detailed and "hunter2" not in detailed


@pytest.mark.parametrize("arguments", [("--log", "json", "config", "show"), ("config", "show", "--log", "json")])
def test_the_options_stand_before_the_verb_or_after_it(arguments: tuple[str, ...]) -> None:
    done = iqaflow(*arguments, "--verbose", "--set", "train.lr=no")
    assert done.returncode == 2 and done.stdout == ""
    debug, error = (json.loads(line) for line in done.stderr.splitlines())
    assert debug["level"] == "DEBUG" and debug["message"].startswith("parameters: ")
    assert error["level"] == "ERROR" and error["message"].startswith("iqaflow: Bad parameters in ")


def test_results_stay_and_quiet_hides_no_error() -> None:
    plain = iqaflow("config", "show", "--json")
    assert plain.returncode == 0 and plain.stderr == ""
    for option in ("--quiet", "--verbose"):
        assert iqaflow(option, "config", "show", "--json").stdout == plain.stdout
    refused = iqaflow("config", "--quiet", "show", "--set", "x")
    assert (refused.returncode, refused.stderr) == (2, "iqaflow: --set 'x' is not of the form section.key=value.\n")


def test_an_unknown_form_is_one_sentence() -> None:
    done = iqaflow("config", "show", IQAFLOW_LOG="xml")
    assert (done.returncode, done.stderr) == (2, "iqaflow: IQAFLOW_LOG is 'xml'; choose one of text, json.\n")
    assert iqaflow("config", "show", "--log", "xml").returncode == 2


def test_a_choice_reaches_the_processes_that_are_started(as_before: None, capsys: pytest.CaptureFixture[str]) -> None:
    log.choose(form="json", level="warning")
    assert (os.environ["IQAFLOW_LOG"], os.environ["IQAFLOW_LOG_LEVEL"]) == ("json", "warning")
    list(progress(range(2), 2, "counting"))
    logging.getLogger("iqaflow.test").warning("%d of %d", 1, 2)
    assert json.loads(capsys.readouterr().err)["message"] == "1 of 2"
    log.choose(form="text", level="info")
    list(progress(range(2), 2, "counting"))
    assert capsys.readouterr().err == "counting: 2/2, 0:00 left\n"
    with pytest.raises(InputError, match="IQAFLOW_LOG_LEVEL is 'loud'"):
        log.choose(level="loud")


def test_setting_up_twice_tells_once(as_before: None, capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up()
    log.set_up()
    logging.getLogger("iqaflow.test").warning("once")
    assert capsys.readouterr().err == "once\n"

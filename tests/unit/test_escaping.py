"""What comes from outside never commands a terminal or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iqaflow.core.security.escaping import COMMANDS, Terminal, cell, escape, guard

HOSTILE = "a\x1b[2J\x07\r\x9b31m\u202egnp.exe\u2066\x7f\x00"
SHOWN = r"a\x1b[2J\x07\x0d\x9b31m\u202egnp.exe\u2066\x7f\x00"
ROOT = Path(__file__).parents[2]


def test_control_characters_are_spelled_out():
    assert escape(HOSTILE) == SHOWN
    assert escape("ordinary é 漢字 🙂\tand\nlines") == "ordinary é 漢字 🙂\tand\nlines"
    assert escape(os.fsdecode(b"caf\xe9.png")) == r"caf\xe9.png"


@given(st.text())
def test_nothing_that_commands_is_left_and_any_text_can_be_printed(text):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    print(text, file=Terminal(out), flush=True)
    assert not COMMANDS.search(out.buffer.getvalue().decode("ascii"))


def test_tables_of_rich_keep_their_colours_and_nothing_else():
    out = io.StringIO()
    assert print(HOSTILE, end="", file=Terminal(out).rich_proxied_file) is None
    print("\x1b[1;31mred\x1b[0m\x1b]0;title\x07", end="", file=Terminal(out).rich_proxied_file)
    assert out.getvalue() == SHOWN + "\x1b[1;31mred\x1b[0m" + r"\x1b]0;title\x07"


def test_what_is_for_programs_is_not_redacted_until_it_is_for_people(monkeypatch):
    outputs = {"stdout": io.StringIO(), "stderr": io.StringIO()}
    for name, stream in outputs.items():
        monkeypatch.setattr(sys, name, stream)
    for results, shown in ((True, "password=hunter2\n"), (False, "password=***\n"), (True, "password=***\n")):
        guard(results)
        print("password=hunter2")
        print("password=hunter2", file=sys.stderr)
        assert outputs["stdout"].getvalue() == shown and outputs["stderr"].getvalue() == "password=***\n"
        for stream in outputs.values():
            stream.seek(0)
            stream.truncate()


def test_stderr_hides_secrets_too():
    out = io.StringIO()
    print("http://u:hunter2@h", file=Terminal(out, redacts=True))
    assert out.getvalue() == "http://***@h\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("+1+1.png", "'+1+1.png"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("-x", "'-x"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\tx", "'\tx"),
        ("\r=1", r"'\x0d=1"),
        ("  =1+1", "'  =1+1"),
        ('"=1+1', "'\"=1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("photos/a.png", "photos/a.png"),
        ("./-x.png", "./-x.png"),
        ("-1.5", "-1.5"),
        ("1e-5", "1e-5"),
        (-1.5, -1.5),
        (None, None),
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        ("a\x1bb", r"a\x1bb"),
    ],
)
def test_cells(value, shown):
    assert cell(value) == shown


@given(st.text(), st.floats(allow_nan=False))
def test_a_row_is_read_back_with_numbers_as_numbers_and_no_formula(text, number):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([cell(text), cell(number)])
    [[name, value]] = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert float(value) == number
    if name[:1] in ("=", "+", "-", "@", "\t", "\r"):
        assert name == text and isinstance(float(name), float), "only a number begins so"


def on_a_terminal(*command: str) -> bytes:
    """What a command writes to a terminal that it believes in."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm-256color"}
    process = subprocess.Popen([sys.executable, *command], stdin=follower, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    seen = b""
    try:
        while part := os.read(leader, 65536):
            seen += part
    except OSError:  # the other end is closed
        os.close(leader)
    process.wait()
    return seen


def test_names_on_a_real_terminal_and_the_bar_still_moves(tmp_path):
    name = os.fsencode(tmp_path) + b"/\x1b]0;owned\x07caf\xe9.png"
    seen = on_a_terminal("-m", "iqaflow.cli", "distort", "--name", "blur_motion", os.fsdecode(name), str(tmp_path / "o.png"))
    assert rb"\x1b]0;owned\x07caf\xe9.png" in seen and b"\x1b" not in seen and b"\x07" not in seen
    code = (
        "from iqaflow.core.security import escaping; escaping.guard()\nfrom iqaflow.core.progress import Bar\n"
        "with Bar('x') as bar:\n    bar.update(1, 2, 'a\\x1b[2J')\n"
    )
    moved = on_a_terminal("-c", code)
    assert moved.startswith(b"\rx: ") and b"1/2" in moved and b"\x1b" not in moved and rb"a\x1b[2J" in moved


def test_json_that_is_piped_stays_as_it_was():
    done = subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", "config", "show", "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    from iqaflow.core.config import load

    assert json.loads(done.stdout) == load(ROOT / "params.yaml").tree()

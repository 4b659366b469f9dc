"""File names that a spreadsheet would run, that command a terminal, or that are no UTF-8: every result is still there."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage
from PIL import Image

from tests.representatives import representatives

ROOT = Path(__file__).parents[2]
NAMES = [b"+1+1.png", b"=cmd|' C'!A0.png", b"caf\xe9.png", b"\x1b[2Jx.png", b"plain.png", b"a,b\n.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("names")
    image = Image.fromarray(skimage.data.coffee()[:96, :96])
    for name in NAMES:
        with open(os.fsencode(made) + b"/" + name, "wb") as file:  # noqa: PTH123 (Path knows no bytes)
            image.save(file, "PNG")
    return made


def iqaflow(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "iqaflow.cli", *arguments, "--model", str(ROOT / "models/base-tiny")]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )


@pytest.mark.parametrize("place", representatives(["file", "terminal"]))
def test_scores_as_a_table(folder, tmp_path, place):
    file = tmp_path / "scores.csv"
    done = iqaflow(folder, "score", ".", *(["--csv", str(file)] if place == "file" else []))
    assert done.returncode == 0, done.stderr
    text = file.read_text(encoding="utf-8") if place == "file" else done.stdout
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert {row["path"] for row in rows} == {
        "'+1+1.png",
        "'=cmd|' C'!A0.png",
        r"caf\xe9.png",
        r"\x1b[2Jx.png",
        "plain.png",
        "a,b\n.png",
    }
    assert all(0 <= float(row["score"]) <= 1 for row in rows) and "\x1b" not in text


def test_assessments_as_text(folder):
    shown = iqaflow(folder, "assess", ".")
    assert shown.returncode == 0, shown.stderr
    assert r"caf\xe9.png: " in shown.stdout and r"\x1b[2Jx.png: " in shown.stdout and "\x1b" not in shown.stdout + shown.stderr


@pytest.mark.slow
def test_assessments_as_json(folder):
    results = json.loads(iqaflow(folder, "assess", ".", "--json").stdout)
    assert {os.fsencode(result["image"]["path"]) for result in results} == set(NAMES), "JSON holds the names as they are"

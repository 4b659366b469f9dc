"""`iqaflow assess --jsonl` killed in the middle: the same command again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import skimage
from PIL import Image

from tests.alike import alike

IMAGES = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Small pictures of several sizes."""
    place = tmp_path_factory.mktemp("pictures")
    coffee = skimage.data.coffee()
    for number in range(IMAGES):
        top, left = number * 9, number * 13
        Image.fromarray(coffee[top : top + 64, left : left + 64 + 32 * (number % 2)]).save(place / f"{number:02d}.png")
    return place


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "iqaflow.cli", "assess", *map(str, arguments)]


def results(out: Path) -> dict[str, dict]:
    """Each image's result without its timing; every image once."""
    found = [json.loads(line) for line in out.read_text().splitlines()]
    by_path = {one["image"]["path"]: {key: value for key, value in one.items() if key != "timing_ms"} for one in found}
    assert len(by_path) == len(found)
    return by_path


@pytest.fixture(scope="module")
def unbroken(folder, model, tmp_path_factory) -> dict[str, dict]:
    out = tmp_path_factory.mktemp("unbroken") / "out.jsonl"
    done = subprocess.run(command(folder, "--jsonl", out, "--model", model), capture_output=True, text=True)
    assert done.returncode == 0 and "done before" not in done.stderr, done.stderr
    return results(out)


def killed(folder: Path, model: Path, out: Path) -> int:
    """A run ended by kill -9 as soon as it has written something; how many whole lines it left."""
    part = out.with_name("out.jsonl.part")
    run = subprocess.Popen(command(folder, "--jsonl", out, "--model", model), stderr=subprocess.DEVNULL)
    while not (part.is_file() and part.stat().st_size):
        assert run.poll() is None, "it ended before it wrote a line"
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL and not out.exists()
    return part.read_bytes().count(b"\n")


@pytest.mark.slow
def test_the_same_command_goes_on_where_it_was_killed(folder, model, unbroken, tmp_path):
    out = tmp_path / "out.jsonl"
    kept = killed(folder, model, out)
    assert 1 <= kept < IMAGES
    before = out.with_name("out.jsonl.part").read_bytes().splitlines(keepends=True)[:kept]
    done = subprocess.run(command(folder, "--jsonl", out, "--model", model), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"assess: {kept} of {IMAGES} images were done before." in done.stderr
    assert out.read_bytes().startswith(b"".join(before))  # the same bytes, timing and all: not asked again
    assert results(out).keys() == unbroken.keys() == {str(path) for path in folder.iterdir()}
    for path, result in results(out).items():
        assert alike(result, unbroken[path]), path
    assert os.listdir(tmp_path) == ["out.jsonl"]


@pytest.mark.slow
def test_a_full_disk_is_a_sentence_and_what_was_done_is_kept(folder, model, unbroken, tmp_path):
    out = tmp_path / "out.jsonl"
    room = sum(len(json.dumps(one)) for one in unbroken.values()) // 2

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    same = command(folder, "--jsonl", out, "--model", model)
    full = subprocess.run(same, capture_output=True, text=True, preexec_fn=little_room)
    assert full.returncode == 3, full.stderr
    assert f"No space left while writing {out}.part: free some disk space and run the same command again." in full.stderr
    assert "Traceback" not in full.stderr and not out.exists()
    kept = out.with_name("out.jsonl.part").read_bytes().count(b"\n")
    assert 0 < kept < IMAGES
    again = subprocess.run(same, capture_output=True, text=True)
    assert again.returncode == 0 and f"assess: {kept} of {IMAGES} images were done before." in again.stderr
    assert results(out).keys() == unbroken.keys()

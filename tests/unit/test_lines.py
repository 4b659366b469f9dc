"""JSON lines across kills: what an earlier run left is kept where it still holds, and made again where it does not."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow.core.errors import InputError
from iqaflow.infer.json_lines import writing

MODEL = {"name": "small", "version": 1}


class Killed(BaseException):
    """Ends a run in the middle, as a signal would."""


@pytest.fixture
def images(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in "abcd"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def line(path: Path, run: str, model: dict = MODEL) -> dict:
    return {"run": run, "image": {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}, "model": model}


def asked(
    out: Path, images: list[Path], run: str, model: dict = MODEL, killed_after: int | None = None, resume: bool = True
) -> list[str]:
    """A run over the images as the command does it; the names of those that were asked."""
    names: list[str] = []
    try:
        with writing(out, model, images if resume else ()) as lines:
            for path in images:
                if not lines.has(path):
                    if len(names) == killed_after:
                        raise Killed
                    lines.add(line(path, run, model))
                    names.append(path.stem)
    except Killed:
        pass
    return names


def runs(out: Path) -> dict[str, str]:
    """Which run made each image's line; every image once."""
    found = [json.loads(one) for one in out.read_text().splitlines()]
    names = [Path(one["image"]["path"]).stem for one in found]
    assert len(set(names)) == len(names)
    return dict(zip(names, (one["run"] for one in found), strict=True))


@pytest.fixture
def out(tmp_path, images) -> Path:
    """A file whose first run was killed after two lines."""
    place = tmp_path / "out.jsonl"
    assert asked(place, images, "first", killed_after=2) == ["a", "b"]
    assert not place.exists() and place.with_name("out.jsonl.part").is_file()
    return place


def part(out: Path) -> Path:
    return out.with_name(f"{out.name}.part")


def test_the_file_appears_at_the_end_and_earlier_lines_are_kept(out, images):
    assert asked(out, images, "second") == ["c", "d"]
    assert runs(out) == {"a": "first", "b": "first", "c": "second", "d": "second"} and not part(out).exists()


def test_a_finished_file_is_replaced_when_all_is_done_again(out, images):
    asked(out, images, "second")
    asked(out, images, "third", killed_after=1)
    assert set(runs(out).values()) == {"first", "second"}  # until then the old one stays whole
    assert asked(out, images, "fourth") == ["b", "c", "d"]
    assert runs(out) == {"a": "third", "b": "fourth", "c": "fourth", "d": "fourth"}


@pytest.mark.parametrize("cut", [1, 20])
def test_a_torn_last_line_is_made_again(out, images, cut):
    part(out).write_bytes(part(out).read_bytes()[:-cut])  # 1: all but the line's end
    assert asked(out, images, "second") == ["b", "c", "d"]
    assert runs(out) == {"a": "first", "b": "second", "c": "second", "d": "second"}


@pytest.mark.parametrize("left", [b"\0" * 4096, b"[1]\n", b"5\n", b'{"model": 1}\n', b'{"image": {}}\n', b"\xff\xfe\n"])
def test_what_is_no_line_of_ours_is_dropped(out, images, left):
    with part(out).open("ab") as file:
        file.write(left)
    assert asked(out, images, "second") == ["c", "d"] and len(runs(out)) == 4


def test_lines_of_another_model_are_not_kept(out, images):
    assert asked(out, images, "second", MODEL | {"version": 2}) == ["a", "b", "c", "d"]
    assert set(runs(out).values()) == {"second"}


def test_a_file_whose_bytes_changed_is_asked_again_and_has_one_line(out, images):
    images[0].write_bytes(b"another picture")
    assert asked(out, images, "second") == ["a", "c", "d"]
    assert runs(out) == {"b": "first", "a": "second", "c": "second", "d": "second"}


def test_images_that_are_not_asked_for_any_more_have_no_line(out, images):
    images[1].unlink()
    assert asked(out, [images[0], images[2]], "second") == ["c"]
    assert runs(out) == {"a": "first", "c": "second"}


def test_without_resuming_everything_is_asked(out, images):
    assert asked(out, images, "second", resume=False) == ["a", "b", "c", "d"]
    assert set(runs(out).values()) == {"second"}


def test_two_writers_at_once_are_refused_in_a_sentence(out, images):
    with writing(out, MODEL, images) as lines:
        with pytest.raises(InputError, match=r"out\.jsonl is being written by another run: wait for it, or give another name\.$"):
            asked(out, images, "second")
        assert lines.has(images[0])  # and the first one goes on undisturbed
        for path in images[2:]:
            lines.add(line(path, "first"))
    assert set(runs(out).values()) == {"first"} and len(runs(out)) == 4


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path, images):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "out.jsonl", tmp_path):
        with pytest.raises(InputError, match=r"cannot be written: [A-Z][a-z ]+\.$|is a folder: give a file"):
            asked(place, images, "first")


FULL = """
import sys
from pathlib import Path
from iqaflow.infer.json_lines import writing
with writing(Path(sys.argv[1]), {}, ()) as lines:
    for number in range(100):
        lines.add({"number": number, "filling": "x" * 100})
"""


def test_a_full_disk_is_one_sentence_and_the_whole_lines_stay(tmp_path):
    out = tmp_path / "out.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL, out],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "NoSpaceError" in last and f"No space left while writing {part(out)}: free some disk space" in last
    assert not out.exists() and part(out).stat().st_size <= 1000
    assert [json.loads(one)["number"] for one in part(out).read_bytes().splitlines()[:-1]] == list(range(7))

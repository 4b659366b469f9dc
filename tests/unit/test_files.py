"""Files are whole or absent: atomic replacement, manifest last, damage found, a full disk told in one sentence."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow.core import files, manifest
from iqaflow.core.errors import DamagedError, NoSpaceError


def folder(place: Path, **contents: bytes) -> Path:
    place.mkdir(parents=True)
    for name, data in contents.items():
        (place / name).write_bytes(data)
    return place


def test_write_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "one")
    files.write_text(path, "two")
    assert path.read_text() == "two"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_json_is_strict_and_stable(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text() == '{\n "b": 1,\n "a": "é"\n}\n'
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert "é" in (tmp_path / "a.json").read_text()


def test_commit_and_verify(tmp_path: Path) -> None:
    work = folder(tmp_path / "work", a=b"1" * 100, b=b"2")
    made = manifest.commit_directory(work, tmp_path / "final", {"seed": 3})
    assert set(made["files"]) == {"a", "b"}
    assert not work.exists()
    assert manifest.read_manifest(tmp_path / "final", verify=True)["seed"] == 3


def test_commit_replaces_the_former_directory(tmp_path: Path) -> None:
    manifest.commit_directory(folder(tmp_path / "work", old=b"1"), tmp_path / "final")
    manifest.commit_directory(folder(tmp_path / "work", new=b"2"), tmp_path / "final")
    assert sorted(path.name for path in (tmp_path / "final").iterdir()) == ["manifest.json", "new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final"]


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "delete", "manifest", "no manifest"])
def test_damage_is_found(tmp_path: Path, damage: str) -> None:
    final = tmp_path / "final"
    manifest.commit_directory(folder(tmp_path / "work", weights=bytes(range(256)) * 40), final)
    data = bytearray((final / "weights").read_bytes())
    if damage == "flip":
        data[5000] ^= 1
        (final / "weights").write_bytes(data)
    elif damage == "cut":
        (final / "weights").write_bytes(data[:-1])
    elif damage == "grow":
        (final / "weights").write_bytes(data + b"x")
    elif damage == "delete":
        (final / "weights").unlink()
    elif damage == "manifest":
        (final / "manifest.json").write_bytes((final / "manifest.json").read_bytes()[:-20])
    else:
        (final / "manifest.json").unlink()
    with pytest.raises(DamagedError, match="run its stage again") as caught:
        manifest.read_manifest(final, verify=True)
    assert str(final) in str(caught.value)


def test_every_byte_matters(tmp_path: Path) -> None:
    """A flip of any one byte is found: the hash covers all of the file."""
    final = tmp_path / "final"
    manifest.commit_directory(folder(tmp_path / "work", small=b"0123456789"), final)
    for position in range(10):
        data = bytearray(b"0123456789")
        data[position] ^= 0x80
        (final / "small").write_bytes(data)
        with pytest.raises(DamagedError):
            manifest.read_manifest(final, verify=True)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from iqaflow.core import files
from iqaflow.core.errors import NoSpaceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    files.write_bytes(Path(sys.argv[1]), b"x" * 100_000)
except NoSpaceError as error:
    print(error.strerror)
"""


def test_a_limit_on_file_size_is_one_sentence_and_the_old_file_stays(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE is not None
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"No space left while writing {path}: free some disk space and run the same command again"
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path: Path) -> None:
    """On a real file system of 1 MB where we may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        (disk / "a.bin").write_bytes(b"old")
        with pytest.raises(NoSpaceError) as caught:
            files.write_bytes(disk / "a.bin", b"x" * 2_000_000)
        assert "free some disk space" in str(caught.value)
        assert (disk / "a.bin").read_bytes() == b"old"
        assert [item.name for item in disk.iterdir()] == ["a.bin"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


LINES = b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": "\xe2\x80\xa8"}\n{"a\n[3]\n{"a": 4}'


@pytest.mark.parametrize(
    ("damaged", "values"),
    [
        ("stop", [{"a": 1}, {"a": "\u2028"}]),
        ("skip", [{"a": 1}, {"a": "\u2028"}, [3], {"a": 4}]),
        ("null", [{"a": 1}, {"a": "\u2028"}, None, [3], {"a": 4}]),
    ],
)
def test_json_lines_are_read_as_far_as_they_are_sound(tmp_path, damaged, values):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    with (tmp_path / "a.jsonl").open("rb") as file:
        lines = list(files.json_lines(file, damaged))
    assert [line.value for line in lines] == values
    assert all(LINES[line.start :].startswith(line.raw) for line in lines)
    assert all(LINES[: line.start].count(b"\n") == line.number - 1 for line in lines)
    ended = [line.value for line in files.json_lines(LINES.splitlines(keepends=True), damaged, ended=True)]
    assert ended == [value for value in values if value != {"a": 4}], "the last one may still be written"


def test_a_damaged_json_line_is_named_by_its_number():
    lines = files.json_lines(LINES.splitlines())
    assert [next(lines).number, next(lines).number] == [1, 3]
    with pytest.raises(ValueError, match=r"^line 4, column 2: Unterminated string"):
        next(lines)
    with pytest.raises(ValueError, match=r"^line 2: .*codec can't decode"):
        list(files.json_lines([b"1\n", b'"\xff"\n']))
    with pytest.raises(ValueError, match=r"^line 1: maximum recursion"):
        list(files.json_lines([b"[" * 100_000]))

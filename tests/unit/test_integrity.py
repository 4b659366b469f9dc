"""Damage is found at every door, in one sentence and with the exit code for damage; what was made before still loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow.core import hashes, manifest
from iqaflow.core.config import Config
from iqaflow.core.errors import STOPPED, DamagedError
from iqaflow.core.workspace import Workspace
from iqaflow.model import base, integrity
from iqaflow.registry.versions import locate
from iqaflow.train import student
from tests.representatives import representatives


@pytest.fixture
def models(calibrated, tmp_path) -> Path:
    """A calibrated model of one's own to harm."""
    shutil.copytree(calibrated / "models", tmp_path / "models")
    return tmp_path / "models"


def flip(path: Path, position: int = -2000) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def warmer(calibration: Path) -> None:
    """One digit of a temperature changed, and nothing else."""
    text = calibration.read_text()
    at = text.index("temperature")
    digit = next(index for index in range(at, len(text)) if text[index].isdigit())
    calibration.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])


HARMS = {
    "weights": lambda models: flip(models / "stage1" / "model.safetensors"),
    "calibration": lambda models: warmer(models / "calibration.json"),
}
COMMANDS = ("assess IMAGE", "score IMAGE", "compare IMAGE IMAGE", "assess IMAGE --json", "demo")


@pytest.mark.parametrize(("command", "harm"), representatives(((command, harm) for command in COMMANDS for harm in HARMS), 2))
def test_a_command_stops_in_one_sentence(models, tmp_path, command, harm) -> None:
    import numpy as np

    from iqaflow.data.images import encode_png

    image = tmp_path / "image.png"
    image.write_bytes(encode_png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
    HARMS[harm](models)
    words = [str(image) if word == "IMAGE" else word for word in command.split()]
    done = subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", *words, "--model", str(models)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(base.__file__).parents[2])},
    )
    assert done.returncode == STOPPED, done.stderr
    [sentence] = done.stderr.strip().splitlines()
    assert "does not match its manifest: run `iqaflow" in sentence and "Traceback" not in sentence
    assert "score" not in done.stdout


def test_a_base_to_train_from_is_verified(models, tmp_path) -> None:
    flip(models / "stage1" / "model.safetensors")
    config = Config.model_validate({"train": {"base": "models/stage1"}})
    with pytest.raises(DamagedError, match=r"model.safetensors is missing or does not match"):
        student.load(config, Workspace(tmp_path))


def test_the_base_that_ships_is_sealed_and_whole() -> None:
    folder = Path(__file__).parents[2] / "models" / "base-tiny"
    assert integrity.verify_weights(folder)["base"] == "scratch"
    assert json.loads((folder / manifest.MANIFEST).read_text())["manifest"] == manifest.FORMAT


def test_a_folder_of_another_maker_has_no_manifest_and_loads(models) -> None:
    (models / "stage1" / manifest.MANIFEST).unlink()
    assert integrity.verify_weights(models / "stage1") == {}
    base.load(models / "stage1")


def test_truncated_weights_of_another_maker_are_one_sentence(models) -> None:
    from iqaflow.core.errors import StageError

    (models / "stage1" / manifest.MANIFEST).unlink()
    weights = models / "stage1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(StageError, match=r"stage1 cannot be loaded"):
        base.load(models / "stage1")


def test_a_calibration_belongs_to_its_weights_alone(models) -> None:
    """The shipped base beside `calibration.json` is not calibrated by it."""
    shutil.copytree(models / "stage1", models / "base-tiny")
    assert locate(models / "base-tiny").calibration is None
    assert locate(models / "stage1").calibration == models / "calibration.json" == locate(models).calibration


def test_a_manifest_of_before_is_read_and_an_altered_one_is_not(tmp_path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    entry = {"size": 1, "sha256": hashes.sha256(folder / "a")}
    (folder / manifest.MANIFEST).write_text(json.dumps({"schema": "iqaflow.model/1", "files": {"a": entry}}))
    assert manifest.read_manifest(folder, verify=True)["schema"] == "iqaflow.model/1"
    sealed = manifest.write_manifest(folder, [folder / "a"], {"steps": 5})
    for change in ({"steps": 6}, {"files": {}}, {"digest": "0" * 64}, {"manifest": 3}, {"more": 1}):
        (folder / manifest.MANIFEST).write_text(json.dumps(sealed | change))
        with pytest.raises(DamagedError):
            manifest.read_manifest(folder)
    for lost in ("digest", "manifest"):
        (folder / manifest.MANIFEST).write_text(json.dumps({key: value for key, value in sealed.items() if key != lost}))
        with pytest.raises(DamagedError):
            manifest.read_manifest(folder)


def test_a_large_file_is_hashed_once_and_again_when_touched(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "LARGE_BYTES", 1000)
    path, read = tmp_path / "weights", []
    path.write_bytes(bytes(5000))
    plain = hashes.sha256
    monkeypatch.setattr(hashes, "sha256", lambda path: read.append(path) or plain(path))
    first = hashes.digest(path)
    assert hashes.digest(path) == first and len(read) == 2  # just written, so it might change unseen: not remembered
    monkeypatch.setattr(hashes, "SETTLED_SECONDS", -1.0)
    assert hashes.digest(path) == hashes.digest(path) == first and len(read) == 3
    status = path.stat()
    flip(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # size and mtime as before: the inode's change time tells
    assert hashes.digest(path) != first and len(read) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")  # a home that cannot be written
    assert hashes.digest(path) == hashes.digest(path) and len(read) == 6


def test_large_files_are_hashed_in_parallel_to_the_same_values(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    paths = []
    for number in range(6):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(bytes([number]) * 5000)
    alone = hashes.digests(paths)
    monkeypatch.setattr(hashes, "LARGE_BYTES", 1000)
    assert hashes.digests(paths) == alone == {path: hashes.sha256(path) for path in paths}

"""The set-up takes only bytes that the lock files name; run for real, with one small wheel made here."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOOT = (ROOT / ".venv").resolve().parent / ".boot"  # where `make` put the installer
LOCKS = ("requirements.lock", "infra/cuda.lock", "infra/build.lock", "infra/installer.lock")


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_is_one_version_with_hashes(name):
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert len(entries) >= 1
    for entry in entries:
        first, *hashes = entry.split(" \\\n    --hash=")
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.!]+( ; sys_platform == 'linux')?", first), entry[:80]
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), entry[:80]


def test_the_installer_is_the_one_that_is_used():
    said = subprocess.run([BOOT / "bin/uv", "--version"], capture_output=True, text=True, check=True).stdout
    assert f"uv=={said.split()[1]} " in (ROOT / "infra/installer.lock").read_text()


@pytest.fixture
def checkout(tmp_path):
    """A folder with the real set-up, whose one package is a wheel in a folder."""
    shutil.copytree(ROOT / "infra", tmp_path / "infra")
    (tmp_path / ".boot").mkdir()
    (tmp_path / ".boot" / "bin").symlink_to(BOOT / "bin")
    (tmp_path / "links").mkdir()
    wheel = tmp_path / "links" / "torch-9.9.9+cpu-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("torch.py", "installed = True\n")
        archive.writestr("torch-9.9.9+cpu.dist-info/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9+cpu\n")
        archive.writestr("torch-9.9.9+cpu.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("torch-9.9.9+cpu.dist-info/RECORD", "")
    return tmp_path, hashlib.sha256(wheel.read_bytes()).hexdigest()


def set_up(folder: Path, digest: str) -> subprocess.CompletedProcess:
    (folder / "requirements.lock").write_text(f"torch==9.9.9 \\\n    --hash=sha256:{digest}\n")
    environment = {**os.environ, "PIP_FIND_LINKS": str(folder / "links"), "UV_OFFLINE": "1", "UV_NO_CACHE": "1", "CUDA": "0"}
    environment.pop("UV_FIND_LINKS", None)
    return subprocess.run(["sh", "infra/setup.sh"], cwd=folder, env=environment, capture_output=True, text=True)


def test_an_altered_file_is_refused_in_one_sentence(checkout):
    folder, digest = checkout
    refused = set_up(folder, "0" * 8 + digest[8:])
    assert refused.returncode == 3
    assert "torch is not one of the files that the lock files name" in refused.stderr.splitlines()[-1]
    assert not list((folder / ".venv").rglob("torch.py"))
    set_up(folder, digest)  # ends later, as there is no project to install here
    assert list((folder / ".venv").rglob("torch.py"))

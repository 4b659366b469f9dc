"""The wheel alone, in a fresh environment and outside of any clone, makes a workspace and answers about a photograph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import skimage

from infra import release

PHOTOGRAPH = Path(skimage.__file__).parent / "data" / "chelsea.png"
IN_THE_WHEEL = (
    "src",
    "flows",
    "models/base-tiny",
    "mlruns/.gitkeep",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
)


@pytest.mark.slow
def test_the_wheel_makes_a_workspace_and_assesses(tmp_path: Path) -> None:
    source, work = tmp_path / "source", tmp_path / "work"
    for name in IN_THE_WHEEL:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        place = release.ROOT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copyfile(place, source / name)
    iqaflow = release.install(release.build(source, tmp_path / "dist"), tmp_path / "fresh")
    release.step(iqaflow, "init", work, cwd=tmp_path)
    python = iqaflow.with_name("python")
    where = release.step(python, "-c", "import iqaflow; print(iqaflow.__file__)", cwd=work, capture_output=True)
    assert where.stdout.startswith(str(tmp_path / "fresh"))
    done = release.step(iqaflow, "assess", PHOTOGRAPH, "--model", "models/base-tiny", "--json", cwd=work, capture_output=True)
    result = json.loads(done.stdout)
    assert result["image"]["path"] == str(PHOTOGRAPH) and 0 <= result["score"]["value"] <= 1
    flow = release.step(
        python,
        "-c",
        "from iqaflow.cli.options import flows; from iqaflow.core.workspace import Workspace; "
        "print(flows(Workspace.here(), 'deployments').__file__)",
        cwd=work,
        capture_output=True,
    )
    assert flow.stdout.startswith(str(tmp_path / "fresh"))

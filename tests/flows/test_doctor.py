"""The doctor tells what works and what does not, for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate.doctor import report as doctor
from tests import toy
from tests.flows.test_retrain import clean_environment


def test_the_machine_without_a_compiler(tmp_path: Path) -> None:
    """A missing compiler is said, and is no failure."""
    only = tmp_path / "bin"
    only.mkdir()
    (only / "python").symlink_to(sys.executable)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"""
import os, sys
from pathlib import Path
from iqaflow.orchestrate.doctor import examinations
os.environ["PATH"] = {str(only)!r}
for finding in examinations.machine(Path({str(tmp_path)!r}), Path({str(tmp_path)!r})):
    print(finding)
""",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    compiler, disk, _ = done.stdout.splitlines()
    assert "no g++ or ninja: everything works" in compiler and "ok=False" in compiler and "needed=False" in compiler
    assert "GB free" in disk and "ok=True" in disk


def test_a_component_that_fails_is_a_row_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC's group, with no git on PATH."""
    monkeypatch.setattr(doctor, "GROUPS", {"graph": doctor.GROUPS["graph"], "machine": doctor.GROUPS["machine"]})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.run(Workspace(tmp_path), as_json=True) == 1
    rows = {row["component"]: row for row in json.loads(capsys.readouterr().out)}
    assert not rows["DVC and git"]["ok"] and "git" in rows["DVC and git"]["did"]
    assert rows["disk"]["ok"]


@pytest.mark.slow
def test_everything_needed_works_here() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", "doctor", "--json"],
        cwd=toy.ROOT,
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=300,
    )
    rows = {row["component"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 0, [row for row in rows.values() if row["needed"] and not row["ok"]]
    assert {"Prefect", "MLflow", "torch", "transformers", "DeepSpeed", "Great Expectations", "DVC and git"} <= set(rows)

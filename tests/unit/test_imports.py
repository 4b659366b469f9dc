"""Nothing happens at import: no heavy library, no file, no server; `--help` answers at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "mlflow",
    "prefect",
    "great_expectations",
    "transformers",
    "deepspeed",
    "pandas",
    "cv2",
    "matplotlib",
    "dvc",
    "sklearn",
    "skimage",
)
# these are made of the library they import; nothing but stages and commands imports them, and inside functions
CORE = {
    "iqaflow.distortions.pixels",
    "iqaflow.infer.assessor",
    "iqaflow.engine.session",
    "iqaflow.engine.answers",
    "iqaflow.engine.tree_cache",
    "iqaflow.orchestrate.zombies",
    "iqaflow.model.processor",
    "iqaflow.model.tiny",
    "iqaflow.serve.page.app",
    "iqaflow.train.objective",
}
PROBE = """
import importlib, json, pkgutil, sys
import iqaflow
names = [m.name for m in pkgutil.walk_packages(iqaflow.__path__, "iqaflow.")]
blame = {}
for name in names:
    before = set(sys.modules)
    importlib.import_module(name)
    heavy = sorted((set(sys.modules) - before) & set(HEAVY))
    if heavy and name not in CORE:
        blame[name] = heavy
print(json.dumps({"count": len(names), "blame": blame}))
"""


def test_every_module_imports_in_a_read_only_folder_without_heavy_libraries(tmp_path: Path) -> None:
    import json

    tmp_path.chmod(0o555)
    before = sorted(ROOT.glob("*"))
    done = subprocess.run(
        [sys.executable, "-c", f"HEAVY, CORE = {HEAVY!r}, {CORE!r}\n{PROBE}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["count"] > 30
    assert answer["blame"] == {}, "import these inside the functions that need them"
    assert list(tmp_path.iterdir()) == []
    assert sorted(ROOT.glob("*")) == before


def test_help_imports_nothing_heavy() -> None:
    """What makes `--help` slow is what it imports."""
    code = (
        f"import sys; from typer.testing import CliRunner; from iqaflow.cli import app;"
        f"done = CliRunner().invoke(app, ['--help']); assert done.exit_code == 0 and 'annotate' in done.output;"
        f"assert not set(sys.modules) & set({HEAVY!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "--set", "train.lr=no"], 2, "train.lr"),
        (["annotate", "--preset", "nope"], 2, "Unknown preset 'nope'"),
        (["config", "show", "--set", "x"], 2, "not of the form"),
        (["assess", "x.png", "--region", "1,2"], 2, "--region"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], code: int, says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "IQAFLOW_DEBUG": ""},
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_a_checkout_the_pipeline_says_so(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "iqaflow.cli", "run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "dvc.yaml is missing" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_environment_only_fills_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from iqaflow.core import environment

    for name in environment.QUIET | environment.MODEST | {"PREFECT_HOME": "", "MLFLOW_TRACKING_URI": ""}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PATH", "/usr/bin")
    for name in environment.TOOLS | environment.SAFE | {"TORCH_EXTENSIONS_DIR": "", "DS_ACCELERATOR": ""}:
        monkeypatch.setenv(name, os.environ.get(name, "x"))
    environment.prepare(tmp_path)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    assert os.environ["PATH"].split(os.pathsep)[0] == str(Path(sys.prefix) / "bin")
    assert os.environ["PREFECT_HOME"].startswith(str(tmp_path))
    for name in (*environment.QUIET, *environment.MODEST, "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, os.environ[name])  # so that monkeypatch takes it away again


@pytest.mark.parametrize("stage", ["calibrate", "benchmark", "report", "gate"])
def test_a_stage_without_a_model_says_how_to_get_one(stage: str, tmp_path: Path) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", stage],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 3
    assert done.stderr == (
        "iqaflow: models/stage1 holds no model: run `iqaflow train` first, or `iqaflow run`, which runs all that is missing.\n"
    )

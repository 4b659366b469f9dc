"""A toy checkout: the real flows, parameters and pipeline around six stages that take a moment and write a line.

`toy.py` in it is the real command line with the stage functions exchanged; `dvc.yaml` calls it. A stage sleeps
`toy.sleep` seconds (a file), fails while `toy.fail` names it, and notes every start and end in `toy.log`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from iqaflow.core.config import Config
from iqaflow.core.config import params_file as params
from iqaflow.core.workspace import STAGES, Workspace

ROOT = Path(__file__).parent.parent
OUTPUTS = {
    "annotate": "data/annotated.txt",
    "validate": "data/validation.json",
    "train": "models/stage1.txt",
    "calibrate": "models/calibration.json",
    "benchmark": "reports/items.txt",
    "report": "reports/report.txt",
}

SCRIPT = """
import os, time
from iqaflow.orchestrate import stages
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import StageResult

OUTPUTS = %r

def read(workspace, name, default=""):
    path = workspace.root / name
    return path.read_text().strip() if path.is_file() else default

def note(workspace, text):
    with open(workspace.root / "toy.log", "a") as file:
        file.write(f"{text} {os.getpid()}\\n")

def run(config, workspace):
    stage = os.environ.get("DVC_STAGE", "gate")
    note(workspace, f"start {stage}")
    if read(workspace, "toy.fail") == stage:
        raise StageError(f"{stage} stops on purpose, row 7")
    if read(workspace, "toy.crash") == stage:
        (workspace.root / "toy.crash").unlink()
        raise RuntimeError("lost the line")
    deadline = time.time() + float(read(workspace, "toy.sleep", "0"))
    while time.time() < deadline:
        print("working", flush=True)
        time.sleep(0.2)
    if stage in OUTPUTS:
        path = workspace.root / OUTPUTS[stage]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{stage} seed {config.seed} lr {config.train.lr}\\n")
    result = StageResult(stage, {"value": 0.5}, f"# {stage}\\n\\nAll well.", details={"promoted": True})
    result.save(workspace)
    note(workspace, f"end {stage}")
    return result

for stage in stages.MODULES:
    stages.MODULES[stage] = "toy"

if __name__ == "__main__":
    from iqaflow.cli import main
    main()
"""


def make(folder: Path) -> Workspace:
    """A committed toy checkout in `folder`."""
    shutil.copytree(ROOT / "flows", folder / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "flows" / "run_stage.py").open("a") as file:
        file.write("import toy  # noqa: E402, F401  (the toy's gate, also where a worker runs the flow)\n")
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder)
    params.write(folder / "params.yaml", Config())
    (folder / "toy.py").write_text(SCRIPT % OUTPUTS)
    (folder / "mlruns").mkdir()
    (folder / "mlruns" / ".gitkeep").touch()
    (folder / "dvc.yaml").write_text(_graph())
    run(folder, "git", "init", "-q")
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    commit(folder)
    return Workspace(folder)


def commit(folder: Path) -> None:
    run(folder, "git", "add", ".")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "toy", "--no-verify", "--allow-empty")


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def log(workspace: Workspace) -> list[str]:
    """`start annotate`, `end annotate`, ... in order."""
    path = workspace.root / "toy.log"
    return [line.rpartition(" ")[0] for line in path.read_text().splitlines()] if path.is_file() else []


def _graph() -> str:
    python = f"{sys.executable} toy.py"
    lines = [
        "stages:",
        "  sources:",
        f"    cmd: {python} sources",
        "    always_changed: true",
        "    params: [source]",
        "    outs: [data/source.json]",
    ]
    former = "data/source.json"
    for stage in STAGES:
        section = "" if stage == "report" else f", {stage}"
        lines += [
            f"  {stage}:",
            f"    cmd: {python} {stage}",
            f"    params: [seed{section}]",
            f"    deps: [{former}]",
            f"    outs: [{OUTPUTS[stage]}]",
        ]
        former = OUTPUTS[stage]
    return "\n".join(lines) + "\n"

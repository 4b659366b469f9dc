"""dvc.yaml tells the truth: every stage depends on the code it imports and on what it reads, and the files are declared."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from iqaflow.core.config import Config
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import STAGES, Workspace
from iqaflow.orchestrate.stages import MODULES

ROOT = Path(__file__).parents[2]
GRAPH: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
# Orchestration, bookkeeping and the schema of the parameters change no byte of an output; parameters are DVC's own affair. What
# sources bring is in data/source.json, photograph by photograph with its SHA-256.
NO_BYTES = ("core", "orchestrate", "registry", "sources", "track", "cli", "__init__.py")
NOT_FOLLOWED = ("train/probes.py",)  # it draws for MLflow alone
MORE = 1.1  # declared lines for each line that is imported: declaring too much runs stages for nothing
PLUGINS = re.compile(r'KINDS\["(\w+)"\]')  # a package that imports what lies in a folder
PROCESS = re.compile(r'"-m", "(iqaflow[.\w]+)"')


def closure(module: str) -> set[str]:
    """Every module of the package that `module` can import: at its top, inside its functions, by listing a folder, or as a
    process of its own.
    """
    known: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        path = source(name)
        if name in known or path is None:
            continue
        known.add(name)
        if relative(path).startswith((*NO_BYTES, *NOT_FOLLOWED)):
            continue  # what these import for themselves is not the stage's
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names if alias.name.startswith("iqaflow")]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("iqaflow"):
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        todo += PROCESS.findall(text)
        for kind in PLUGINS.findall(text):
            package = KINDS[kind].package
            todo += [package, *(f"{package}.{name}" for name in KINDS[kind].names())]
    return known


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")


def code_of(stage: str) -> set[Path]:
    """The files whose change can change an output of the stage."""
    return {
        path
        for name in closure(MODULES[stage])
        if (path := source(name)) and not relative(path).startswith(NO_BYTES) and path.read_text().strip()
    }


def lines(files: set[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def declared(stage: str) -> set[Path]:
    """The code files of the stage in dvc.yaml, folders taken apart."""
    paths = [ROOT / dep for dep in GRAPH["stages"][stage]["deps"] if dep.startswith("src/")]
    return {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])}


def source(module: str) -> Path | None:
    base = ROOT / "src" / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "src" / "iqaflow").as_posix()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_imports_and_on_little_else(stage: str) -> None:
    missing = sorted(map(relative, code_of(stage) - declared(stage)))
    assert missing == [], f"add these to the deps of {stage} in dvc.yaml"
    needed, all_declared = map(lines, (code_of(stage), declared(stage)))
    beyond = sorted(map(relative, declared(stage) - code_of(stage)))
    assert all_declared <= MORE * needed, f"{stage} declares {all_declared} lines and imports {needed}: take out {beyond}"


def test_stages_chain_in_order() -> None:
    assert list(GRAPH["stages"]) == ["sources", *STAGES]
    made: dict[str, str] = {}
    for stage, entry in GRAPH["stages"].items():
        for dep in entry.get("deps", []):
            if not dep.startswith(("src/", "models/base-tiny")):
                assert dep in made, f"{stage} reads {dep}, which no earlier stage makes"
        outs = [out if isinstance(out, str) else next(iter(out)) for key in ("outs", "metrics") for out in entry.get(key, [])]
        made |= dict.fromkeys(outs, stage)
    place = Workspace(ROOT)
    for path in (place.annotated, place.validation, place.stage1, place.calibration, place.metrics, place.items, place.report):
        assert place.relative(path) in made


def test_parameters_that_change_bytes_are_declared() -> None:
    """Every section is a parameter of some stage, except those that change speed and bookkeeping only."""
    declared = {name for entry in GRAPH["stages"].values() for name in entry["params"]}
    assert set(Config().tree()) - declared == {"schedule", "track", "resources"}
    for stage in STAGES:
        own = "benchmark" if stage == "report" else stage  # it draws what the benchmark's parameters say was measured
        assert {"seed", own} <= set(GRAPH["stages"][stage]["params"])


def test_code_folders_hold_no_caches_for_dvc() -> None:
    assert "__pycache__" in (ROOT / ".dvcignore").read_text().split()

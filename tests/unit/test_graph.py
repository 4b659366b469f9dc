"""dvc.yaml tells the truth: every stage depends on the code it imports and on what it reads, and the files are declared."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from iqaflow.core.config import Config
from iqaflow.core.workspace import STAGES, Workspace
from iqaflow.orchestrate.stages import MODULES

ROOT = Path(__file__).parents[2]
GRAPH: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
# Orchestration, bookkeeping and the schema of the parameters change no byte of an output; parameters are DVC's own affair.
NO_BYTES = ("core", "orchestrate", "track", "cli.py", "__init__.py")


def closure(module: str) -> set[str]:
    """Every module of the package that `module` can import, at its top or inside its functions."""
    found: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        path = source(name)
        if name in found or path is None:
            continue
        found.add(name)
        if relative(path).startswith(NO_BYTES):
            continue  # what these import for themselves is not the stage's
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names if alias.name.startswith("iqaflow")]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("iqaflow"):
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def source(module: str) -> Path | None:
    base = ROOT / "src" / Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "src" / "iqaflow").as_posix()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_imports(stage: str) -> None:
    declared = [ROOT / dep for dep in GRAPH["stages"][stage]["deps"]]
    missing = sorted({
        f"src/iqaflow/{relative(path).partition('/')[0]}" for name in closure(MODULES[stage])
        if (path := source(name)) and not relative(path).startswith(NO_BYTES)
        and not any(path == dep or dep in path.parents for dep in declared)})
    assert missing == [], f"add these to the deps of {stage} in dvc.yaml"


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
    for path in (place.annotated, place.validation, place.stage1, place.calibration, place.metrics, place.items,
                 place.report):
        assert place.relative(path) in made


def test_parameters_that_change_bytes_are_declared() -> None:
    """Every section is a parameter of some stage, except those that change speed and bookkeeping only."""
    declared = {name for entry in GRAPH["stages"].values() for name in entry["params"]}
    assert set(Config().tree()) - declared == {"schedule", "track", "resources"}
    for stage in STAGES:
        assert {"seed", stage} <= set(GRAPH["stages"][stage]["params"])


def test_code_folders_hold_no_caches_for_dvc() -> None:
    assert "__pycache__" in (ROOT / ".dvcignore").read_text().split()

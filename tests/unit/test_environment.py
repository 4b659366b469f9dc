"""docs/environment.md is the one table of environment variables: it has all that the code reads or sets, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("src", "flows", "infra") for path in sorted((ROOT / folder).rglob("*.py"))]
OURS = re.compile(r"IQAFLOW_[A-Z_]+")
OTHERS = re.compile(  # of the tools around us, as they stand in dictionaries of settings, too
    r"(PREFECT|MLFLOW|DVC|HF|GX|RAY|GRADIO|SLURM|DS|TORCH|TRANSFORMERS|TOKENIZERS|CUDA|GLOO|OMP|TQDM|UV|PIP)_[A-Z_]+"
)


def listed() -> set[str]:
    lines = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8").splitlines()
    return {name for line in lines if line.startswith("| `") for name in re.findall(r"`([A-Za-z_]+)`", line.split(" | ")[0])}


def used(path: Path) -> Iterator[str]:
    """Names of variables in a file: what `os.environ` is asked for by a literal, and every literal that looks like a setting."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (OURS.fullmatch(node.value) or OTHERS.fullmatch(node.value))
        ):
            yield node.value
        asked: list[ast.expr] = []
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            asked = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "os.environ":
            asked = node.args[:1]
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "os.environ":
            asked = [node.left]
        yield from (each.value for each in asked if isinstance(each, ast.Constant) and isinstance(each.value, str))


def test_the_table_has_every_variable_that_the_code_uses() -> None:
    names = {name: path.relative_to(ROOT).as_posix() for path in FILES for name in used(path)}
    names |= dict.fromkeys(OURS.findall((ROOT / ".ci" / "run").read_text(encoding="utf-8")), ".ci/run")
    assert {name: file for name, file in names.items() if name not in listed()} == {}, "add these to docs/environment.md"


def test_the_table_has_no_variable_that_is_gone() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*FILES, ROOT / "infra" / "setup.sh", ROOT / ".ci" / "run"])
    gone = {name for name in listed() if not re.search(rf"\b{name}\b", text)}
    assert gone == set(), "nothing in src, flows, infra or .ci speaks of these"


def test_the_search_sees_what_there_is() -> None:
    names = {name for path in FILES for name in used(path)}
    assert {"IQAFLOW_ROOT", "IQAFLOW_TEACHER_KEY", "NETRC", "DVC_STAGE", "PREFECT_SERVER_API_AUTH_STRING"} <= names

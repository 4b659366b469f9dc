"""A room stands above what it uses: no two packages import each other, not even round a corner, and no folder overflows."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "iqaflow"
MOST_FILES = 14
MODULES = {
    ".".join(("iqaflow", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, at its top or inside its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by dots: name the package"
            names |= {name if (name := f"{node.module}.{alias.name}") in MODULES else str(node.module) for alias in node.names}
    assert not any(name.partition(".")[0] == "flows" for name in names), f"{path} imports flows/: let it be handed in"
    return names & MODULES.keys()


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "the facade"


def test_modules_and_packages_import_in_one_direction() -> None:
    modules = {name: imported(path) - {name} for name, path in MODULES.items()}
    TopologicalSorter(modules).prepare()  # CycleError names the circle
    rooms: dict[str, set[str]] = {}
    for name, used in modules.items():
        rooms.setdefault(room(name), set()).update(room(other) for other in used if room(other) != room(name))
    TopologicalSorter(rooms).prepare()
    assert not rooms["core"], "the ground floor stands on nothing of ours"


def test_no_folder_holds_too_much() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert {folder.name: count for folder in folders if (count := len(list(folder.glob("*.py")))) > MOST_FILES} == {}

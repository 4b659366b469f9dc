"""The picture of docs/architecture.md shows the imports and the hops that there are."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.test_rooms import MODULES, PACKAGE, room

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "pictures" / "architecture.py"


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_drawn_from_the_imports_of_today(picture: ModuleType) -> None:
    committed = SCRIPT.with_suffix(".svg").read_text(encoding="utf-8")
    assert committed == picture.svg(), "python docs/pictures/architecture.py draws it anew; look at it"


def test_every_room_is_in_it(picture: ModuleType) -> None:
    drawn = {*picture.STAGES, *picture.ROOMS, "cli", "orchestrate"}
    assert drawn == {room(name) for name in MODULES} - {"the facade"}


def test_the_hops_are_calls_that_there_are(picture: ModuleType) -> None:
    """A solid arrow is an import of the next file, by the file or, in the command line, by what its commands share."""
    files = [place if (place := ROOT / file).is_file() else PACKAGE / file for _, file, _, _ in picture.HOPS]
    assert all(file.is_file() for file in files) and len(files) == 10
    for file, (*_, way), following in zip(files, picture.HOPS, files[1:], strict=False):
        known = imports(file) | (imports(PACKAGE / "cli" / "options.py") if file.parent.name == "cli" else set())
        module = ".".join(following.relative_to(ROOT).with_suffix("").parts).removeprefix("src.")
        assert (module in known) == (way == "import"), f"{file.name} -> {module}"


def imports(file: Path) -> set[str]:
    if file.suffix != ".py":
        return set()
    nodes = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    return {name for node in nodes for alias in node.names for name in (str(node.module), f"{node.module}.{alias.name}")}

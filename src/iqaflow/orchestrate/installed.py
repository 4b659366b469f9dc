"""A workspace without the source code: what `dvc.yaml` says about code is said by `code.json` there, a hash for each stage.

In a clone DVC watches the code itself. Where the package is installed, `iqaflow` writes `code.json` before every run, and each
stage has its own key of it as a parameter: after an upgrade just the stages whose code changed are out of date.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from iqaflow.core import files
from iqaflow.core.version import VERSION
from iqaflow.core.workspace import Workspace, shipped

NAME, SOURCES = "code.json", "src/"


def graph() -> str:
    """The dvc.yaml of such a workspace: the clone's, its code exchanged for `code.json`."""
    yaml, text = _yaml(), io.StringIO()
    tree = yaml.load((shipped() / "dvc.yaml").read_text(encoding="utf-8"))
    for stage, entry in tree["stages"].items():
        if any(dep.startswith(SOURCES) for dep in entry.get("deps", ())):
            entry["deps"] = [dep for dep in entry["deps"] if not dep.startswith(SOURCES)]
            entry["params"].append({NAME: [stage]})
    yaml.dump(tree, text)
    return text.getvalue()


def write_hashes(workspace: Workspace) -> None:
    """Let `code.json` speak of the code at hand, where the workspace has one."""
    path = workspace.root / NAME
    text = hashes()
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        files.write_text(path, text)


def hashes() -> str:
    """The content of `code.json`: the version, and by stage the SHA-256 of the files that dvc.yaml names as its code."""
    package = Path(__file__).parents[2]
    stages = _yaml().load((shipped() / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    code = {
        stage: [package / dep.removeprefix(SOURCES) for dep in entry.get("deps", ()) if dep.startswith(SOURCES)]
        for stage, entry in stages.items()
    }
    digests = {stage: _digest(package, paths) for stage, paths in code.items() if paths}
    return json.dumps({"version": VERSION, **digests}, indent=1) + "\n"


def _digest(package: Path, paths: list[Path]) -> str:
    digest = hashlib.sha256()
    inside = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    for file in sorted(file for file in inside if file.is_file() and "__pycache__" not in file.parts):
        digest.update(f"{file.relative_to(package).as_posix()} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()  # keeps comments
    yaml.width = 130
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml

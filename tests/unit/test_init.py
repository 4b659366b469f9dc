"""`iqaflow init`: what a workspace without the source code holds, and how DVC learns there that code changed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from iqaflow.core import config
from iqaflow.core.errors import InputError
from iqaflow.core.version import VERSION
from iqaflow.core.workspace import STAGES, Workspace
from iqaflow.orchestrate import dvc, init, installed


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def workspace(tmp_path: Path, said: list[str]) -> Workspace:
    init.run(tmp_path / "work", said.append)
    return Workspace(tmp_path / "work")


def test_a_folder_becomes_a_workspace_that_git_and_dvc_know(workspace: Workspace, said: list[str]) -> None:
    dvc.check(workspace)
    assert config.load(workspace.params) == config.Config()
    assert git(workspace.root, "status", "--porcelain") == ""
    assert {"params.yaml", "dvc.yaml", "code.json", "models/base-tiny/model.safetensors"} <= set(
        git(workspace.root, "ls-files").split()
    )
    assert set(dvc.stale(workspace)) == {"sources", *STAGES}
    assert "because DVC needs one" in said[0]


def test_the_graph_is_the_clones_with_hashes_for_code(workspace: Workspace) -> None:
    yaml = YAML(typ="safe", pure=True)
    ours = yaml.load(workspace.root / "dvc.yaml")["stages"]
    clones = yaml.load(Path(__file__).parents[2] / "dvc.yaml")["stages"]
    assert list(ours) == list(clones)
    for stage, entry in clones.items():
        data = [dep for dep in entry.get("deps", ()) if not dep.startswith("src/")]
        assert ours[stage].get("deps", []) == data and ours[stage]["outs"] == entry["outs"]
        coded = data != entry.get("deps", [])
        assert ours[stage]["params"] == entry["params"] + [{"code.json": [stage]}] * coded
    assert set(json.loads(installed.hashes())) == {"version", *STAGES}


def test_hashes_follow_the_code_at_hand_where_there_are_any(workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.root / "code.json"
    now = json.loads(path.read_text())
    assert now["version"] == VERSION and len({now[stage] for stage in STAGES}) == len(STAGES)
    path.write_text(json.dumps(now | {"version": "0.0.1", "train": "of another version"}))
    installed.write_hashes(workspace)
    assert json.loads(path.read_text()) == now
    installed.write_hashes(Workspace(tmp_path))
    assert not (tmp_path / "code.json").exists(), "in a clone DVC watches the code itself"


def test_what_is_there_stays(workspace: Workspace) -> None:
    workspace.params.write_text("seed: 7\n")
    (workspace.root / "dvc.yaml").unlink()
    init.run(workspace.root, print)
    assert workspace.params.read_text() == "seed: 7\n" and (workspace.root / "dvc.yaml").is_file()
    assert git(workspace.root, "log", "--format=%s").splitlines() == [f"Workspace of iqaflow {VERSION}"]


def test_a_folder_of_another_repository_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="inside the git repository"):
        init.run(workspace.root / "data" / "new", print)
    assert not (workspace.root / "data").exists()
    with pytest.raises(InputError, match="workspace already"):
        init.run(Path(__file__).parents[2], print)

"""Runs, their provenance and the store, against a real MLflow on SQLite."""

import base64
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from iqaflow.core.config import Config
from iqaflow.core.errors import InputError, StageError
from iqaflow.core.files import write_json
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.model import integrity
from iqaflow.registry import versions
from iqaflow.serve import limits, request
from iqaflow.serve.signature import served
from iqaflow.track import cached_stage, current, parent_run, provenance, stage_run, store
from iqaflow.track.run import PARENT

CONFIG = Config()


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in ("IQAFLOW_TRACKING_URI", "MLFLOW_TRACKING_URI", PARENT):
        monkeypatch.delenv(name, raising=False)
    return Workspace(tmp_path / "check out é%41")


@pytest.fixture
def mlflow(workspace, empty_store):
    shutil.copytree(empty_store, workspace.mlruns)
    return store.client(store.ensure(workspace, CONFIG))


def git(workspace, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments], cwd=workspace.root, check=True, capture_output=True
    )


def children(mlflow, parent):
    return {run.info.run_name: run for run in mlflow.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent}'")}


def test_the_store_is_made_once_and_takes_readers_beside_a_writer(workspace, mlflow):
    file = workspace.mlruns / "mlflow.db"
    before = file.stat().st_ino
    assert store.ensure(workspace, CONFIG) == f"sqlite:///{file}"
    assert file.stat().st_ino == before
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    places = {each.name: each.artifact_location for each in mlflow.search_experiments()}
    artifacts = (workspace.mlruns / "artifacts").as_uri()
    assert places == {"iqaflow": artifacts, "Default": f"{artifacts}/0"}
    assert store.unreachable(store.uri(workspace)) is None


def test_a_deleted_experiment_comes_back(workspace, mlflow):
    mlflow.delete_experiment("1")
    store.ensure(workspace, CONFIG)
    assert mlflow.get_experiment("1").lifecycle_stage == "active"


def test_a_store_named_by_the_user_is_used(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("IQAFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared/mlflow.db")
    with stage_run("train", CONFIG, workspace) as child:
        child.text("hello", "note.txt")
    assert not workspace.mlruns.exists()
    assert (tmp_path / "shared" / "artifacts" / child.run_id / "artifacts" / "note.txt").read_text() == "hello"


def test_a_run_says_everything_about_itself(workspace, mlflow):
    import pandas as pd

    workspace.annotated.mkdir(parents=True)
    write_json(workspace.annotated / "manifest.json", {"files": {}})
    (workspace.root / "requirements.lock").write_text("a==1\n")
    git(workspace, "init", "-b", "main")
    git(workspace, "add", "requirements.lock")
    git(workspace, "commit", "-m", "first")
    (workspace.root / "requirements.lock").write_text("a==2 token=verysecret\n")
    (workspace.root / "picture.png").write_bytes(picture())
    with parent_run(CONFIG, workspace) as parent:
        assert os.environ[PARENT] == parent
        with stage_run("train", CONFIG, workspace) as child:
            assert current() is child
            for step in range(30):
                child.log({"loss@x": 1.0 / (step + 1), "lr": 0.1}, step=step)
            child.image(np.zeros((8, 8), bool), "probe/0", step=3)
            child.image(workspace.root / "picture.png", "probe/0", step=4)
            child.table(pd.DataFrame({"item": ["a", "b"], "value": [0.5, np.nan]}), "items")
            child.finish(
                StageResult("train", {"minutes": 2.0}, "# Trained", images=["picture.png"], artifacts=["requirements.lock"])
            )
        (workspace.root / "dvc.lock").write_text("schema: '2.0'\n")
    assert PARENT not in os.environ and current() is None
    run = mlflow.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == str(CONFIG.train.lr)
    assert run.data.params["benchmark.primary"] == CONFIG.benchmark.primary
    tags = run.data.tags
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=workspace.root, text=True).strip()
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == commit and tags["git.dirty"] == "true"
    assert tags["requirements.lock"] == hashlib.sha256(b"a==2 token=verysecret\n").hexdigest()
    assert tags["dvc.lock"] == hashlib.sha256(b"schema: '2.0'\n").hexdigest() and tags["seed"] == "0"
    names = {item.path for item in mlflow.list_artifacts(parent)}
    assert {"params.yaml", "dvc.lock", "provenance"} <= names
    diff = Path(mlflow.download_artifacts(parent, "provenance/uncommitted.diff")).read_text()
    assert "+a==2" in diff and "verysecret" not in diff and "# ?? picture.png" in diff

    child = children(mlflow, parent)["train"]
    assert child.info.status == "FINISHED"
    assert child.data.tags["stage"] == "train" and child.data.tags["status"] == "ran"
    assert child.data.metrics["minutes"] == 2.0 and child.data.metrics["lr"] == 0.1
    assert [each.step for each in mlflow.get_metric_history(child.info.run_id, "loss_x")] == list(range(30))
    [data] = child.inputs.dataset_inputs
    assert data.tags[0].value == "train" and child.data.tags["data.digest"].startswith(data.dataset.digest)
    assert {item.path for item in mlflow.list_artifacts(child.info.run_id)} == {
        "images",
        "items.json",
        "train.md",
        "pictures",
        "files",
    }
    assert len(mlflow.list_artifacts(child.info.run_id, "images")) == 4  # two pictures, each with a small one
    assert child.data.tags["mlflow.loggedArtifacts"] == '[{"path": "items.json", "type": "table"}]'
    table = json.loads(Path(mlflow.download_artifacts(child.info.run_id, "items.json")).read_text())
    assert table == {"columns": ["item", "value"], "data": [["a", 0.5], ["b", None]]}
    assert not list((workspace.state / "spool").glob("*.files"))


def test_a_stage_tried_again_continues_its_run_with_steps_in_order(workspace, mlflow):
    with parent_run(CONFIG, workspace) as parent:
        with pytest.raises(ValueError, match="boom"), stage_run("train", CONFIG, workspace) as first:
            for step in range(8):
                first.log({"loss": 1.0 - step / 10}, step=step)
            raise ValueError("boom: password=hunter2")
        assert children(mlflow, parent)["train"].info.status == "FAILED"
        assert children(mlflow, parent)["train"].data.tags["error"].startswith("ValueError: boom: password=***")
        with stage_run("train", CONFIG, workspace) as second:  # from the checkpoint at step 5
            for step in (*range(5, 12), *range(9, 12)):
                second.log({"loss": 1.0 - step / 10, "lr": 0.1}, step=step)
    assert second.run_id == first.run_id
    assert [each.step for each in mlflow.get_metric_history(first.run_id, "loss")] == list(range(12))
    assert [each.step for each in mlflow.get_metric_history(first.run_id, "lr")] == list(range(5, 12))
    assert children(mlflow, parent)["train"].info.status == "FINISHED"


def test_a_stage_with_nothing_to_do_is_noted_with_its_result(workspace, mlflow):
    StageResult("validate", {"failed": 0.0}, "# Fine").save(workspace)
    with parent_run(CONFIG, workspace) as parent:
        assert cached_stage("validate", CONFIG, workspace)
        assert cached_stage("validate", CONFIG, workspace) is None  # a retried flow
        with stage_run("train", CONFIG, workspace):
            pass
        assert cached_stage("train", CONFIG, workspace) is None  # what ran is not overwritten
    found = children(mlflow, parent)
    assert found["validate"].data.tags["status"] == "cached" and found["validate"].data.metrics == {"failed": 0.0}
    assert found["train"].data.tags["status"] == "ran" and len(found) == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (SystemExit(143), "KILLED"), (SystemExit(0), "FINISHED"), (SystemExit(2), "FAILED")],
)
def test_a_run_ends_as_its_work_ended(workspace, mlflow, error, status):
    with pytest.raises(type(error)), stage_run("calibrate", CONFIG, workspace) as child:
        raise error
    assert mlflow.get_run(child.run_id).info.status == status


def test_sigterm_is_kept_as_killed_and_the_handler_put_back(workspace, mlflow):
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit), stage_run("train", CONFIG, workspace) as child:
        timer.start()
        time.sleep(10)
    assert mlflow.get_run(child.run_id).info.status == "KILLED"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_exported_parent_is_continued(workspace, mlflow, monkeypatch):
    with parent_run(CONFIG, workspace) as first:
        pass
    monkeypatch.setenv(PARENT, first)
    with parent_run(CONFIG, workspace) as second:
        assert mlflow.get_run(second).info.status == "RUNNING"
    assert second == first and os.environ[PARENT] == first


def test_a_moved_checkout_keeps_its_artifacts_and_models(workspace, mlflow, tmp_path):
    make_model(workspace, "1")
    with parent_run(CONFIG, workspace) as parent:
        versions.register(CONFIG, workspace, parent, served(), check=False)
    moved = Workspace(tmp_path / "moved")
    workspace.root.rename(moved.root)
    again = store.client(store.ensure(moved, CONFIG))
    assert yaml.safe_load(Path(again.download_artifacts(parent, "params.yaml")).read_text()) == CONFIG.tree()
    assert again.get_experiment("0").artifact_location == (moved.mlruns / "artifacts").as_uri() + "/0"
    folder = versions.resolve("challenger", moved)
    assert moved.root in folder.parents and (folder / "stage1" / "config.json").is_file()
    with stage_run("train", CONFIG, moved) as child:
        child.text("x", "new.txt")
    assert (moved.mlruns / "artifacts" / child.run_id / "artifacts" / "new.txt").is_file()


def test_the_digest_of_the_data_is_dvcs_only_while_dvc_speaks_of_these_bytes(workspace):
    workspace.annotated.mkdir(parents=True)
    manifest = workspace.annotated / "manifest.json"
    manifest.write_text('{"files": {}}')
    assert provenance.data_digest(workspace) == hashlib.sha256(manifest.read_bytes()).hexdigest()
    digest = "0123456789abcdef0123456789abcdef.dir"
    (workspace.root / "dvc.lock").write_text(
        f"stages:\n  annotate:\n    outs:\n    - path: data/annotated\n      md5: {digest}\n"
    )
    (workspace.root / ".dvc").mkdir()
    (workspace.root / ".dvc" / "config").write_text("[core]\n    autostage = true\n[cache]\n    dir = ../elsewhere\n")
    listing = workspace.root / "elsewhere" / "files" / "md5" / digest[:2] / digest[2:]
    listing.parent.mkdir(parents=True)
    md5 = hashlib.md5(manifest.read_bytes(), usedforsecurity=False).hexdigest()
    listing.write_text(json.dumps([{"md5": md5, "relpath": "manifest.json"}]))
    assert provenance.data_digest(workspace) == digest
    manifest.write_text('{"files": {"a": 1}}')  # made again by hand, dvc.lock is old
    assert provenance.data_digest(workspace) == hashlib.sha256(manifest.read_bytes()).hexdigest()


def test_a_model_without_files_or_name_gets_one_sentence(workspace, mlflow):
    with pytest.raises(StageError, match="no model iqaflow@champion in the registry: run `iqaflow run`"):
        versions.resolve("champion", workspace)
    with pytest.raises(StageError, match="no model folder some/where"):
        versions.resolve("some/where", workspace)
    with pytest.raises(StageError, match=r"config.json is missing"):
        versions.register(CONFIG, workspace, "none", served())
    assert versions.resolve(str(workspace.root), workspace) == workspace.root


def test_a_cell_is_base64_or_a_path_unless_served(tmp_path, monkeypatch):
    path, data = tmp_path / "a.png", picture()
    path.write_bytes(data)
    text = base64.b64encode(data).decode()
    for packed in (text, f"data:image/png;base64,{text}", f"{text[:9]}\n{text[9:]}\n"):
        assert request.picture("image", packed, paths=True) == data
    assert request.picture("image", str(path), paths=True) == str(path)
    for wrong in ("no/such/file.png", "\0", "x" * 10_001):
        with pytest.raises(InputError, match="neither the path"):
            request.picture("image", wrong, paths=True)
    with pytest.raises(InputError, match="paths are not read here"):
        request.picture("image", str(path), paths=False)
    with pytest.raises(InputError, match="must hold Unicode"):
        request.text("question", "half a character: \ud800")
    monkeypatch.delenv("IQAFLOW_IMAGE_PATHS", raising=False)
    assert limits.paths() is False and limits.paths(default=True) is True
    for value, allowed in (("0", False), ("1", True)):
        monkeypatch.setenv("IQAFLOW_IMAGE_PATHS", value)
        assert limits.paths() is limits.paths(default=True) is allowed


def picture():
    from iqaflow.data.images import encode_png

    return encode_png(np.full((5, 7, 3), 120, np.uint8))


def make_model(workspace, mark):
    """The files of a model, without weights: enough for the registry when it does not ask the model."""
    work = workspace.root / "made"
    work.mkdir(parents=True)
    (work / "config.json").write_text(json.dumps({"mark": mark}))
    (work / "README.md").write_text("# Card\n")
    commit_directory(work, workspace.stage1)
    workspace.calibration.write_text("{}")
    integrity.bind(workspace.models)

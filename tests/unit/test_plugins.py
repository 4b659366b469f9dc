"""Everything that grows by one file: found, listed, refused in one sentence, used by every stage from a folder of one's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from iqaflow import sources, tasks
from iqaflow.annotate import teachers
from iqaflow.core import config
from iqaflow.core.errors import ConfigError, StageError
from iqaflow.core.files import write_json
from iqaflow.core.manifest import write_manifest
from iqaflow.core.plugins import KINDS, VARIABLE, digest, folders
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate import stages
from iqaflow.tasks.task import LAST, Task
from tests.conftest import SMALL

ROOT = Path(__file__).parents[2]
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
# every stage in one process, and what only a call can show
STAGES = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from iqaflow import distortions, tasks
from iqaflow.core import config
from iqaflow.core.workspace import Workspace
from iqaflow.model import families
from iqaflow.orchestrate import stages
from iqaflow.regions import layouts

workspace, chosen = Workspace(Path(sys.argv[1])), config.load(overrides=tuple(json.loads(sys.argv[2])))
for stage in ("sources", "annotate", "validate", "train", "calibrate", "benchmark", "report"):
    stages.run(stage, chosen, workspace)
masks = workspace.root / "masks"
print(json.dumps({"category": distortions.phrase("vignetting"), "tasks": tasks.names(), "asked": tasks.single()[-1].name,
                  "family": type(families.of(SimpleNamespace(model_type="toy_vl"))).__name__,
                  "layout": layouts.of(masks, "masks").read(masks, "astronaut.png", (2, 2), masks).names}))
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory) -> Path:
    """A folder with a plugin of each kind."""
    folder = tmp_path_factory.mktemp("team") / "iqa"
    shutil.copytree(ROOT / "tests" / "plugins", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "distortions").mkdir()
    (folder / "distortions" / "vignetting.py").write_text(EXAMPLE)
    return folder


@pytest.fixture(scope="module")
def used(plugins, tmp_path_factory) -> tuple[Path, dict]:
    """A workspace in which every stage worked with a plugin of each kind, and what the process said at its end."""
    root = tmp_path_factory.mktemp("used")
    (root / "photographs").mkdir()
    (root / "masks").mkdir()
    np.save(root / "masks" / "astronaut.npy", np.array([[1, 1], [2, 0]], np.uint8))
    shutil.copy(Path(data.__file__).parent / "cell.png", root / "photographs" / "cell.png")
    (root / "said.txt").write_text("cell.png\tThe image shows slight noise.\n")
    said = {"name": "said", "format": "lines", "path": str(root / "said.txt"), "images": str(root / "photographs")}
    overrides = [
        *SMALL,
        "source.kind=shipped",
        f"source.labelled={json.dumps([said])}",
        "annotate.regions=quarters",
        "annotate.teacher.kind=silent",
        "annotate.teacher.rewrite=true",
        "train.max_steps=2",
        "calibrate.segmenters=[half]",
        "benchmark.primary=count.accuracy",
    ]
    done = subprocess.run(
        [sys.executable, "-c", STAGES, str(root), json.dumps(overrides)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, VARIABLE: str(plugins), "IQAFLOW_TRACKING_URI": ""},
        cwd=root,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return root, json.loads(done.stdout.splitlines()[-1])


def test_there_is_a_plugin_of_each_kind(plugins) -> None:
    assert {path.name for path in plugins.iterdir()} == set(KINDS)


def test_data_are_annotated_and_validated_with_plugins(used, plugins, monkeypatch) -> None:
    root, told = used
    assert told["category"] == "vignetting" and told["tasks"][-1] == told["asked"] == "count"
    from iqaflow.data.tables import read_rows

    images, asked = (list(read_rows(root / "data" / "annotated", table)) for table in ("images", "conversations"))
    flaws = {flaw["category"] for image in images for flaw in image["distortions"]}
    labels = {region["label"] for image in images for region in image["regions"]}
    assert "vignetting" in flaws and labels == {"gray region"}
    assert {row["turns"][1]["text"] for row in asked if row["task"] == "count"} == {"zero", "one", "several"}
    assert {image["dataset"] for image in images} == {"synthetic", "said"}
    assert (root / ".iqaflow" / "asked.txt").is_file(), "the teacher was asked nothing"
    checks = json.loads((root / "data" / "validation.json").read_text())["expectations"]
    assert [check["success"] for check in checks if check["says"] == "Every image is a small one."] == [True]
    assert "Every task is one of the nine." in {check["says"] for check in checks}
    monkeypatch.setenv(VARIABLE, str(plugins))
    source, manifest = (json.loads((root / name).read_text()) for name in ("data/source.json", "data/annotated/manifest.json"))
    assert source["kind"] == "shipped" and source["inputs"]["plugins"] == manifest["plugins"] == digest()


def test_a_model_is_trained_and_measured_with_plugins(used) -> None:
    root, told = used
    assert told["family"] == "Toy" and told["layout"] == ["part 1", "part 2"]
    assert "vignetting" in json.loads((root / "models" / "stage1" / "manifest.json").read_text())["vocabulary"]["categories"]
    calibration = json.loads((root / "models" / "calibration.json").read_text())
    assert calibration["segmenter"]["name"] == "half" and "count" in calibration["confidence"]
    results = json.loads((root / "reports" / "metrics.json").read_text())
    assert 0 <= results["model"]["count"]["accuracy"]["value"] <= 1
    assert results["baselines"]["always_one"]["count"]["accuracy"]["n"] == results["items"]["counts"]["count"] > 12
    assert "counts the kinds of distortion" in (root / "reports" / "report.html").read_text()


def test_other_plugins_than_those_of_the_data_are_refused(plugins, tmp_path, monkeypatch) -> None:
    workspace = Workspace(tmp_path)
    write_json(workspace.annotated / "part.json", {})
    write_manifest(workspace.annotated, [workspace.annotated / "part.json"])
    stages.same_plugins(workspace)
    monkeypatch.setenv(VARIABLE, str(plugins))
    with pytest.raises(StageError, match="data/annotated was made with other plugins than IQAFLOW_PLUGINS names here"):
        stages.same_plugins(workspace)
    before = digest()
    write_manifest(workspace.annotated, [workspace.annotated / "part.json"], {"plugins": before})
    stages.same_plugins(workspace)
    (plugins / "metrics" / "counting.py").write_text((plugins / "metrics" / "counting.py").read_text() + "\n")
    assert digest() != before


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("source.kind=cloud", r"^source\.kind: 'cloud' is unknown; choose one of download, dvc, folder, packaged\.$"),
        ("annotate.regions=quarters", r"^annotate\.regions: 'quarters' is unknown; choose one of given, sam, superpixels\.$"),
    ],
)
def test_parameters_name_what_there_is(override, says, tmp_path) -> None:
    with pytest.raises(ConfigError, match=says):
        sources.index(config.load(overrides=(override,)), Workspace(tmp_path))


def test_a_teacher_that_there_is_not_is_one_sentence(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"^annotate\.teacher\.kind: 'oracle' is unknown; choose one of http, local\.$"):
        teachers.of(config.load(overrides=("annotate.teacher.kind=oracle",)).annotate.teacher, Workspace(tmp_path))


def test_folders_that_cannot_be_used_are_one_sentence(plugins, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="which is no folder"):
        KINDS["regions"].names()
    (tmp_path / "metric").mkdir()
    monkeypatch.setenv(VARIABLE, f"{plugins}{os.pathsep}{tmp_path}")
    with pytest.raises(ConfigError, match=r"metric is no kind of plugin; name it one of distortions, tasks"):
        folders()
    (tmp_path / "metric").rename(tmp_path / "regions")
    (tmp_path / "regions" / "sam.py").write_text("def of_view(): ...")
    with pytest.raises(ConfigError, match="regions: 'sam' is defined twice"):
        KINDS["regions"].names()
    (tmp_path / "regions").rename(tmp_path / "layouts")
    (tmp_path / "layouts" / "sam.py").write_text("def owns(:")
    with pytest.raises(ConfigError, match=r"sam\.py is not valid Python"):
        KINDS["layouts"].names()


def test_helpers_are_not_taken_for_plugins(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "shared.py").write_text("from iqaflow.benchmark.metrics import metric\n\n\ndef median(values): ...\n")
    (folder / "_own.py").write_text('@metric("rate", "own", "owns")\ndef own(frame): ...\n')
    (folder / "middle.py").write_text('"""The middle."""\n\n\n@metric("rate", "middle", "errs by")\ndef middle(frame): ...\n')
    assert set(KINDS["metrics"].names()) - {"accuracy", "confidence", "correlation", "grounding", "text"} == {"middle"}
    assert ("rate.middle", "errs by") in KINDS["metrics"].entries()


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_lists_every_kind(kind, plugins) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "iqaflow.cli", "list", kind],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, VARIABLE: str(plugins)},
    )
    entries = dict(re.split(r" {2,}", line, maxsplit=1) for line in done.stdout.splitlines())
    assert len(entries) > len(KINDS[kind].names()) and all(entries.values())


def test_every_list_of_tasks_is_the_registry() -> None:
    known = tasks.known()
    files = {path.stem for path in (ROOT / "src" / "iqaflow" / "tasks").glob("*.py")}
    assert set(known) == set(KINDS["tasks"].names()) < files
    assert tasks.names() == ("identify", "rate", "describe", "describe_local", "ground", "refer", "vqa", "score")
    assert [task.name for task in tasks.single()] == ["identify", "score", "describe", "describe_local", "ground", "refer", "vqa"]
    assert [task.name for task in tasks.with_reference()] == ["identify", "score", "describe"]
    assert [task.name for task in tasks.pairs()] == ["rate"]
    assert tasks.benchmarked() == ("identify", "rate", "score", "ground", "refer", "vqa", "describe", "describe_local")
    assert set(tasks.names()) == set(tasks.benchmarked()) == {task.name for task in (*tasks.single(), *tasks.pairs())}


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_has_all_fields(name) -> None:
    from iqaflow.benchmark import metrics

    task = tasks.find(name)
    assert type(task) is Task and task.name == name and task.about in ("image", "region", "pair")
    assert {field.name for field in fields(task)} == set(vars(task))
    assert all(map(callable, (task.questions, task.check, task.closed, task.item)))
    assert metrics.find(name, task.headline).family == name
    assert max(task.place, task.question_place, task.benchmarked) < LAST, "an order that decides bytes is written down"
    assert task.value or task.item is not Task.item, "the benchmark measures it"
    assert min(task.tokens) > 0

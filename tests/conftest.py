"""What many tests start from, made once for all workers by the real stages: a small data set, a tiny model, small others."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from iqaflow.core.environment import prepare
from iqaflow.core.log import set_up

prepare()
set_up()  # as the command line does: some tests read on stderr what is told
os.environ["IQAFLOW_TRACKING_URI"] = ""  # tests choose their own store
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C, and so would its children

SMALL = (
    "annotate.images.train=36",
    "annotate.images.calibration=24",
    "annotate.images.test=24",
    "annotate.shard_images=12",
    "annotate.sizes_px=[[64, 64], [64, 96]]",
    "train.base=scratch",
    "train.max_steps=8",
    "train.checkpoint_steps=2",
    "train.lr=2e-3",
    "train.warmup=1",
    "train.micro_batch=2",
    "train.questions=4",
    "train.dense=1.0",
    "benchmark.bootstrap=100",
    "benchmark.descriptions=2",
    "resources.workers=1",
    "resources.engine=sequential",
    "resources.ranks=1",
    "source.min_side_px=64",
)


def pytest_addoption(parser) -> None:
    parser.addoption("--kills", type=int, default=10, help="how often the kill test kills training")


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`once(name, make)`: the folder that `make` fills, made by the worker that asks first. Copy it before changing it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        place, finished = shared / "once" / name, shared / "once" / f"{name}.finished"
        place.parent.mkdir(exist_ok=True)
        with FileLock(f"{place}.lock"):
            if not finished.exists():
                shutil.rmtree(place, ignore_errors=True)  # what a worker left that failed
                place.mkdir()
                make(place)
                finished.touch()
        return place

    return folder


@pytest.fixture(scope="session")
def small_config():
    """The configuration of every small test run."""
    from iqaflow.core import config

    return config.load(overrides=SMALL)


@pytest.fixture(scope="session")
def annotated(once, small_config) -> Path:
    """A workspace folder whose `data/annotated` is there. Copy it before changing it."""
    from iqaflow.annotate import stage
    from iqaflow.core.workspace import Workspace

    return once("annotated", lambda root: stage.run(small_config, Workspace(root)))


@pytest.fixture(scope="session")
def trained(once, annotated, small_config) -> Path:
    """A workspace folder with data and `models/stage1` after eight steps from scratch."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.train import stage

    def make(root: Path) -> None:
        shutil.copytree(annotated, root, dirs_exist_ok=True)
        stage.run(small_config, Workspace(root))

    return once("trained", make)


@pytest.fixture(scope="session")
def calibrated(once, trained, small_config) -> Path:
    """The same, calibrated by the real stage."""
    from iqaflow.calibrate import stage
    from iqaflow.core.workspace import Workspace

    def make(root: Path) -> None:
        shutil.copytree(trained, root, dirs_exist_ok=True)
        stage.run(small_config, Workspace(root))

    return once("calibrated", make)


@pytest.fixture(scope="session")
def model(calibrated) -> Path:
    """A folder with `stage1/` and `calibration.json`, as the commands take it."""
    return calibrated / "models"


@pytest.fixture(scope="session")
def empty_store(once) -> Path:
    """An empty MLflow store, to be copied to `mlruns/` of a workspace: the copy is right after `store.ensure`."""
    from iqaflow.core.config import Config
    from iqaflow.core.workspace import Workspace
    from iqaflow.track import store

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # a store of its own
        return once("store", lambda root: store.ensure(Workspace(root), Config())) / "mlruns"


@pytest.fixture(scope="session")
def registered(once, model) -> Path:
    """The MLflow model of the small calibrated model, as the registry stores it."""
    from iqaflow.core.config import Config
    from iqaflow.core.workspace import Workspace
    from iqaflow.registry import versions
    from iqaflow.serve.signature import served
    from iqaflow.track import parent_run

    def make(root: Path) -> None:
        shutil.copytree(model, root / "models")
        with parent_run(Config(), Workspace(root)) as run:
            versions.register(Config(), Workspace(root), run, served())

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return versions.resolve("challenger", Workspace(once("registered", make))).parent


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser; without one its tests are skipped, or fail where IQAFLOW_TESTS_BROWSER=required says that it must be there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        (pytest.fail if os.environ.get("IQAFLOW_TESTS_BROWSER") == "required" else pytest.skip)("no Chromium on PATH")
    return found


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator[Any]:
    """Chromium; it takes evil.example for this machine, as if its owner pointed the name here."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--host-resolver-rules=MAP evil.example 127.0.0.1"]
        )  # root has no sandbox
        yield started
        started.close()

"""A small annotated data set and a tiny model trained for seconds, made once by the real stages."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from iqaflow.core.environment import prepare

prepare()
os.environ["IQAFLOW_TRACKING_URI"] = ""  # tests choose their own store
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C, and so would its children

SMALL = (
    "annotate.images.train=36", "annotate.images.calibration=24", "annotate.images.test=24", "annotate.shard_images=12",
    "annotate.sizes_px=[[64, 64], [64, 96]]", "train.base=scratch", "train.max_steps=8", "train.checkpoint_steps=2",
    "train.lr=2e-3", "train.warmup=1", "train.micro_batch=2", "train.questions=4", "train.dense=1.0", "benchmark.bootstrap=100",
    "benchmark.descriptions=2", "resources.workers=1", "resources.engine=sequential", "resources.ranks=1",
    "source.min_side_px=64",
)


def pytest_addoption(parser) -> None:
    parser.addoption("--kills", type=int, default=10, help="how often the kill test kills training")


@pytest.fixture(scope="session")
def small_config():
    """The configuration of every small test run."""
    from iqaflow.core import config

    return config.load(overrides=SMALL)


@pytest.fixture(scope="session")
def annotated(tmp_path_factory, small_config) -> Path:
    """A workspace folder whose `data/annotated` is there. Copy it before changing it."""
    from iqaflow.annotate import stage
    from iqaflow.core.workspace import Workspace

    root = tmp_path_factory.mktemp("annotated")
    stage.run(small_config, Workspace(root))
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory, annotated, small_config) -> Path:
    """A workspace folder with data and `models/stage1` after eight steps from scratch."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.train import stage

    root = tmp_path_factory.mktemp("trained") / "work"
    shutil.copytree(annotated, root)
    stage.run(small_config, Workspace(root))
    return root


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory, trained, small_config) -> Path:
    """The same, calibrated by the real stage."""
    from iqaflow.calibrate import stage
    from iqaflow.core.workspace import Workspace

    root = tmp_path_factory.mktemp("calibrated") / "work"
    shutil.copytree(trained, root)
    stage.run(small_config, Workspace(root))
    return root

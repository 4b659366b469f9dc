"""`iqaflow base`, small: from a folder of photographs to a base with its card, continued where it was killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.model import base
from iqaflow.orchestrate import base_release as release

SMALL = (
    "source.weights.train=60",
    "source.weights.calibration=20",
    "source.weights.test=20",
    "annotate.images.train=40",
    "annotate.images.calibration=40",
    "annotate.images.test=40",
    "annotate.shard_images=20",
    "train.max_steps=6",
    "train.vision_images=8",
    "train.micro_batch=2",
    "train.checkpoint_steps=2",
    "calibrate.segmenters=[superpixels]",
    "calibrate.points=[1]",
    "calibrate.temperatures=[1.0]",
    "benchmark.bootstrap=100",
    "benchmark.descriptions=2",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Workspace:
    import skimage
    from sklearn.datasets import load_sample_images

    root = tmp_path_factory.mktemp("base")
    (root / "photographs").mkdir()
    pictures = [getattr(skimage.data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    pictures += [*load_sample_images().images, skimage.data.stereo_motorcycle()[0]]
    for number, picture in enumerate(pictures):
        Image.fromarray(picture[..., :3]).save(root / "photographs" / f"{number}.png")
    shutil.copy(Path(__file__).parents[2] / "params.yaml", root)
    command = [sys.executable, "-m", "iqaflow.cli", "base", "--set", f"source.path={root / 'photographs'}"]
    for text in SMALL:
        command += ["--set", text]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return Workspace(root)


@pytest.mark.slow
def test_the_base_is_whole_and_its_card_says_what_it_is(made: Workspace):
    folder = made.root / "models" / "base-tiny"
    assert read_manifest(folder, verify=True)["base"] == "scratch"
    card = (folder / "README.md").read_text()
    assert "40 annotated views of 96 to" in card and "| identification, one distortion or none, no reference |" in card
    from iqaflow.core import config

    model, processor = base.load(folder, config.load().train)
    assert model.config.model_type == "qwen3_vl"
    text = "Any word, even flapdoodle."
    assert processor.tokenizer.decode(processor.tokenizer(text)["input_ids"]) == text


@pytest.mark.slow
def test_what_is_done_is_not_done_again_unless_asked_otherwise(made: Workspace):
    from iqaflow.core import config

    path = made.root / "photographs"
    same = config.load(preset="base", overrides=(f"source.path={path}", *SMALL))
    inner = Workspace(made.state / "base")
    before = {name: StageResult.path(inner, name).stat().st_mtime_ns for name in ("annotate", "train", "benchmark")}
    release.run(same, made)
    assert before == {name: StageResult.path(inner, name).stat().st_mtime_ns for name in before}
    other = same.model_copy(update={"seed": same.seed + 1})
    release.begin(other, inner)
    assert StageResult.read(inner, "annotate") is None

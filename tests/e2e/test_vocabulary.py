"""A category added to the code, renamed in it or taken out of it: older models go on as they were, new ones learn it.

The code is copied and changed, as a person would change it, and runs in processes of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from iqaflow import distortions
from iqaflow.core.workspace import Workspace
from iqaflow.infer.assessor import Assessor
from iqaflow.model.location import in_folder
from iqaflow.tasks.vocabulary import FIRST
from tests.conftest import SMALL

ROOT = Path(__file__).parents[2]
BASE = ROOT / "models" / "base-tiny"
FOG = """
from iqaflow.distortions.registry import distortion

PHRASE, NR_MIN_LEVEL, FOLLOWED_BY = "thick fog", 1, ("noise",)


@distortion(levels=(0.1, 0.2, 0.3, 0.4, 0.5))
def fog_even(image, share, rng):
    return (image * (1 - share) + 255 * share).astype("uint8")
"""
ASSESS = """
import json, sys
from iqaflow.infer.assessor import Assessor
from iqaflow.model.location import in_folder
from pathlib import Path

model = Assessor.load(in_folder(Path(sys.argv[1]), "base"))
small, large, other = (Path(path) for path in sys.argv[2:])
assessed = [model.assess(small), model.assess(small, region=(8, 8, 60, 60)), model.assess(large)]
print(json.dumps([*({**one, "timing_ms": None} for one in assessed), model.compare(small, other), model.score([small, large])]))
"""
# an older model on data with a category it does not know; then a new one, from the same base, against it as champion
RETRAIN = """
import json, shutil, sys
from pathlib import Path
from iqaflow.annotate import stage as annotate
from iqaflow.benchmark import items, results, stage as benchmark
from iqaflow.calibrate import stage as calibrate
from iqaflow.core import config as configuration
from iqaflow.core.environment import prepare
from iqaflow.core.workspace import Workspace
from iqaflow.gate import stage as gate
from iqaflow.model import integrity
from iqaflow.registry import versions
from iqaflow.registry.versions import locate
from iqaflow.train import stage as train

prepare()
config, workspace = configuration.load(overrides=json.loads(sys.argv[1])), Workspace(Path.cwd())
annotate.run(config, workspace)
said = []
for model in ("champion", "challenger"):
    if model == "champion":
        shutil.copytree(config.train.base, workspace.stage1)
    else:
        train.run(config, workspace)
    calibrate.run(config, workspace)
    measured = benchmark.run(config, workspace)
    frame = items.read(workspace.items)
    said.append({
        "calibrated": json.loads(workspace.calibration.read_text())["vocabulary"]["categories"],
        "items": sorted(set(frame[frame["predictor"] == "model"]["item_id"])),
        "targets": sorted(set(frame["target"].dropna())),
        "metrics": json.loads(workspace.metrics.read_text())["items"], "summary": measured.markdown,
        "gate": gate.run(config, workspace).details})
    if model == "champion" and not said[0]["gate"]["promoted"]:
        versions.promote(config, workspace, 1, None)
theirs = benchmark.evaluate(locate(versions.resolve("champion", workspace)), config, workspace)  # without what was kept
said.append({"again": sorted(set(theirs["item_id"]))})
print(json.dumps(said))
"""


def code(folder: Path, **files: str | None) -> Path:
    """A copy of the code with category modules written, or taken away where None; a folder for PYTHONPATH."""
    shutil.copytree(ROOT / "src" / "iqaflow", folder / "iqaflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in files.items():
        path = folder / "iqaflow" / "distortions" / "synthetic" / f"{name}.py"
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
    return folder


def run(code: Path, script: str, *arguments: object, cwd: Path | None = None) -> list:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    """A noisy view, a large photograph with a pixelated part, and the view without noise."""
    folder = tmp_path_factory.mktemp("pictures")
    plain, large = skimage.data.astronaut()[40:168, 150:278], skimage.data.coffee()
    mask = np.zeros(large.shape[:2], bool)
    mask[100:300, 100:400] = True
    rng = np.random.default_rng(0)
    made = [
        distortions.apply(plain, "noise_gaussian_RGB", 5, rng),
        distortions.apply_in_mask(large, mask, "pixelate", 5, rng),
        plain,
    ]
    paths = [folder / f"{name}.png" for name in ("noisy", "large", "plain")]
    for path, picture in zip(paths, made, strict=True):
        Image.fromarray(picture).save(path)
    return paths


@pytest.mark.slow
def test_the_base_says_the_same_whatever_becomes_of_the_categories(tmp_path, pictures):
    synthetic = ROOT / "src" / "iqaflow" / "distortions" / "synthetic"
    grain = (synthetic / "noise.py").read_text().replace('PHRASE = "noise"', 'PHRASE = "grain"')
    without = {
        path.stem: text.replace('"pixelate", ', "").replace('    "pixelate",\n', "")
        for path in synthetic.glob("*.py")
        if '"pixelate"' in (text := path.read_text()) and path.stem not in ("noise", "pixelate")
    }
    today = run(ROOT / "src", ASSESS, BASE, *pictures)
    assert run(code(tmp_path / "grown", fog=FOG), ASSESS, BASE, *pictures) == today
    changed = code(
        tmp_path / "changed", **without, noise=grain.replace('"pixelate", ', "").replace('    "pixelate",\n', ""), pixelate=None
    )
    assert run(changed, ASSESS, BASE, *pictures) == today
    named = {
        fault["phrase"]
        for result in today[:3]
        for fault in (*result["distortions"], *(fault for region in result["regions"] for fault in region["distortions"]))
    }
    assert {"noise", "pixelation"} <= named  # words that the changed code no longer has
    assert "pixelation" in today[2]["description"]["detailed"]


@pytest.mark.slow
def test_a_new_category_is_learnt_and_the_older_champion_is_compared_on_what_both_know(tmp_path, pictures):
    work = tmp_path / "work"
    work.mkdir()
    grown = code(tmp_path / "grown", fog=FOG)
    overrides = [
        *(text for text in SMALL if not text.startswith(("train.base", "train.max_steps", "annotate.images"))),
        f"train.base={BASE}",
        "train.max_steps=2",
        "annotate.images.train=26",
        "annotate.images.calibration=26",
        "annotate.images.test=52",
    ]
    champion, challenger, again = run(grown, RETRAIN, json.dumps(overrides), cwd=work)
    assert champion["calibrated"] == dict(FIRST.categories)
    assert challenger["calibrated"] == dict(FIRST.categories) | {"fog": "thick fog"}
    left_out = set(challenger["items"]) - set(champion["items"])
    assert left_out and set(champion["items"]) < set(challenger["items"]) and again["again"] == champion["items"]
    assert champion["metrics"]["left_out"] == len(left_out) and "left_out" not in challenger["metrics"]
    assert champion["metrics"]["test_sha256"] == challenger["metrics"]["test_sha256"]
    assert not any("fog" in text for text in champion["targets"]) and any("thick fog" in text for text in challenger["targets"])
    assert f"{len(left_out)} more name categories the model was never taught" in champion["summary"]
    verdict = challenger["gate"]
    assert verdict["rival"] == "champion (version 1)" and verdict["left_out"] == len(left_out)
    assert verdict["sentence"].endswith(f" {len(left_out)} items are left out: only one of the two knows fog.")

    made = Assessor.load(in_folder(Workspace(work).models, "models"))  # by code that has no such category
    assert "thick fog" in made.engine.vocabulary.names and made.engine.lens_ids["category"].shape == (14,)
    assert made.assess(pictures[0])["score"]["value"] > 0

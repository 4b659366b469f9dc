"""The commands a person types, on images no test has seen: results in the contract's shape, bad input in one sentence."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow.data.masks import decode_mask
from iqaflow.tasks import grammar
from tests.representatives import representatives


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    import skimage

    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(skimage.data.rocket()).save(folder / "large.jpg")
    Image.fromarray(skimage.data.coffee()[:90, :130]).save(folder / "small one.png")
    Image.fromarray(skimage.data.coffee()).convert("L").save(folder / "grey.png")
    return folder


def iqaflow(*arguments: object, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "iqaflow.cli", *map(str, arguments)], cwd=folder, capture_output=True, text=True)


def test_assess_gives_the_contract(model, photographs, tmp_path):
    done = iqaflow(
        "assess",
        photographs / "large.jpg",
        "--json",
        "--overlay",
        tmp_path / "drawn",
        "--model",
        model,
        "--region",
        "100,50,300,250",
        "--question",
        "What is wrong with the quality of this image?",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["schema"] == "iqaflow.assessment/1"
    assert (result["image"]["width"], result["image"]["height"]) == (640, 427)
    assert 0 <= result["score"]["value"] <= 1 and result["score"]["level"] in grammar.RATINGS
    assert sum(result["score"]["distribution"].values()) == pytest.approx(1, abs=1e-2)
    (region,) = result["regions"]
    assert region["box_xyxy"] == [100, 50, 300, 250]
    mask = decode_mask(region["mask_rle"])
    assert mask.shape == (427, 640) and mask.sum() == 200 * 200
    assert all(0 <= cell < grammar.CELLS for cell in region["cells"])
    assert set(result["description"]) == {"brief", "detailed"} and "timing_ms" in result
    assert result["answer"]["question"].startswith("What is wrong")
    assert len(list((tmp_path / "drawn").glob("large-*.png"))) == 1


def test_a_batch_goes_on_past_bad_images(model, photographs, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(photographs, folder)
    (folder / "broken.jpg").write_bytes((folder / "large.jpg").read_bytes()[:5000])
    done = iqaflow("assess", folder, "--jsonl", tmp_path / "out.jsonl", "--model", model, folder=tmp_path)
    assert done.returncode == 2
    assert "broken.jpg cannot be used" in done.stderr and "Traceback" not in done.stderr
    names = {Path(json.loads(line)["image"]["path"]).name for line in (tmp_path / "out.jsonl").read_text().splitlines()}
    assert names == {"large.jpg", "small one.png", "grey.png"}


@pytest.mark.slow
def test_scores_go_on_past_bad_images(model, photographs, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(photographs, folder)
    Image.new("RGB", (90, 5)).save(folder / "thin.png")
    (folder / "broken.jpg").write_bytes((folder / "large.jpg").read_bytes()[:5000])
    done = iqaflow("score", folder, "--model", model, folder=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "broken.jpg cannot be used" in done.stderr
    assert "thin.png cannot be used: it is 90x5, its short side is under 8 px" in done.stderr
    names = {Path(row["path"]).name for row in csv.DictReader(done.stdout.splitlines())}
    assert names == {"large.jpg", "small one.png", "grey.png"}


def test_an_interrupted_batch_says_so_and_goes_on(model, photographs, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(48):
        shutil.copy(photographs / "small one.png", folder / f"{number}.png")
    command = [sys.executable, "-m", "iqaflow.cli", "assess", str(folder), "--jsonl", "out.jsonl", "--model", str(model)]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "out.jsonl.part"
    while running.poll() is None and not (part.is_file() and part.stat().st_size):
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130 and "Interrupted" in said and "Traceback" not in said
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and "of 48 images were done before" in again.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 48


def test_score_and_compare(model, photographs, tmp_path):
    done = iqaflow("score", photographs, "--csv", tmp_path / "scores.csv", "--model", model, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert len(rows) == 3 and all(0 <= float(row["score"]) <= 1 for row in rows)
    worse = tmp_path / "worse.png"
    assert (
        iqaflow(
            "distort", photographs / "large.jpg", worse, "--name", "noise_gaussian_RGB", "--level", 5, folder=tmp_path
        ).returncode
        == 0
    )
    assert np.asarray(Image.open(worse)).shape == (427, 640, 3)
    done = iqaflow("compare", photographs / "large.jpg", worse, "--json", "--model", model, folder=tmp_path)
    result = json.loads(done.stdout)
    assert result["better"] in ("Image A", "Image B") and 0.5 <= result["confidence"] <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    representatives(
        [
            (["--region", "0,0,9999,10"], "inside the image of 640x427"),
            (["--point", "700,3"], "lies outside the image"),
            (["--region", "1,2,3,4", "--point", "3,4"], "not both"),
            (["--region", "20,20,10,10"], "inside the image of 640x427"),
            (["--mask", "."], "is a folder"),
            (["--phrase", ""], "--phrase is empty"),
            (["--question", " "], "--question is empty"),
            (["--overlay", "taken"], "cannot be made a folder"),
            (["--jsonl", "."], "is a folder: give a file"),
            (["--model", "/nowhere/at/all"], "no model folder"),
        ]
    ),
)
def test_bad_input_is_one_sentence(model, photographs, tmp_path, arguments, says):
    (tmp_path / "taken").write_text("a file")
    given = arguments if "--model" in arguments else [*arguments, "--model", model]
    done = iqaflow("assess", photographs / "large.jpg", *given, folder=tmp_path)
    assert done.returncode in (2, 3) and says in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_python_interface_as_documented(model, photographs):
    import iqaflow as package

    loaded = package.load(model)
    by_mask = loaded.assess(photographs / "small one.png", mask=np.eye(90, 130, dtype=bool))
    assert decode_mask(by_mask["regions"][0]["mask_rle"]).sum() == 90
    by_point = loaded.assess(photographs / "small one.png", point=(5, 5), phrase="the [odd] corner")
    assert decode_mask(by_point["regions"][0]["mask_rle"])[5, 5]
    with pytest.raises(ValueError, match="uint8 RGB"):
        loaded.assess(np.zeros((5, 5), np.uint8))

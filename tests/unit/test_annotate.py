"""The annotated data set: same bytes for any number of workers and after a kill, exact masks, answers that parse back."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from iqaflow import config, tasks
from iqaflow.annotate import stage
from iqaflow.data import sources, tables
from iqaflow.data.images import ImageError, decode
from iqaflow.ops.errors import StageError
from iqaflow.ops.files import read_manifest
from iqaflow.workspace import Workspace


def digests(root):
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((root / "data").rglob("*")) if path.is_file()}


def test_two_workers_give_the_bytes_of_one(annotated, small_config, tmp_path):
    parallel = small_config.model_copy(update={"resources": small_config.resources.model_copy(
        update={"engine": "loky", "workers": 2})})
    stage.run(parallel, Workspace(tmp_path))
    assert digests(tmp_path) == digests(annotated)


def test_killed_run_continues_and_ends_the_same(annotated, small_config, tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=stage.run, args=(small_config, Workspace(tmp_path)))
    process.start()
    scratch = tmp_path / ".iqaflow" / "scratch" / "annotate"
    deadline = time.monotonic() + 60
    while not list(scratch.glob("*/shard-*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = list(scratch.glob("*/shard-*.json"))
    assert done and not (tmp_path / "data" / "annotated").exists()
    damaged = next(iter(sorted(scratch.glob("*/images/part-*.parquet"))))
    damaged.write_bytes(damaged.read_bytes()[:-20])  # a finished shard that a bad disk cut short is made again
    stage.run(small_config, Workspace(tmp_path))
    assert digests(tmp_path) == digests(annotated)


def test_masks_are_exact_and_boxes_tight(annotated):
    for row in tables.read_rows(annotated / "data" / "annotated", "images"):
        image, reference = decode(row["image"]), decode(row["reference"])
        assert image.shape == reference.shape == (row["height"], row["width"], 3)
        union = np.zeros(image.shape[:2], bool)
        for region in row["regions"]:
            mask = tables.decode_mask(region["mask_rle"])
            ys, xs = np.nonzero(mask)
            assert region["box_xyxy"] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            if any(flaw["region_id"] == region["region_id"] for flaw in row["distortions"]):
                union |= mask
        if row["distortions"] and row["distortions"][0]["region_id"] is not None:
            assert np.array_equal(image[~union], reference[~union])
            assert (image[union] != reference[union]).any()
        if not row["distortions"]:
            assert row["score"] == 1.0 and np.array_equal(image, reference)


def test_splits_share_no_photograph(annotated):
    frame = tables.read_frame(annotated / "data" / "annotated", "images", ["source_id", "split"])
    assert (frame.groupby("source_id")["split"].nunique() == 1).all()
    assert set(frame["split"]) == set(tables.SPLITS)


def test_every_answer_parses_back_to_its_targets(annotated):
    seen = set()
    for row in tables.read_rows(annotated / "data" / "annotated", "conversations"):
        answer, targets = row["turns"][-1]["text"], row["targets"]
        seen.add(row["task"])
        parsed = tasks.parse(row["task"], answer)
        for start, end in row["answer_spans"]:
            assert 0 <= start < end <= len(answer)
        if row["task"] in ("identify", "refer", "describe"):
            assert set(parsed.categories) == set(targets["categories"]), answer
        if row["task"] == "rate":
            assert parsed.better == targets["better"]
        if row["task"] == "ground" and targets["region_ids"]:
            point, box = parsed.places
            assert point.last is None and [box.first, box.last] == targets["boxes_cells"][0]
            assert parsed.vertical and parsed.horizontal and not parsed.whole
        if row["task"] == "ground" and not targets["region_ids"]:
            assert parsed.whole
    assert seen == set(tables.TASKS)


def test_manifest_names_every_file(annotated):
    manifest = read_manifest(annotated / "data" / "annotated", verify=True)
    assert manifest["counts"]["images"] == {"train": 36, "calibration": 24, "test": 24}


@pytest.fixture
def photographs(tmp_path, annotated):
    """A folder with nine good photographs and one of every bad kind."""
    folder = tmp_path / "photographs"
    (folder / "deep" / "er").mkdir(parents=True)
    import skimage

    good = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    for number in range(9):
        picture = good[number % 3][(number // 3) * 60 :, (number // 3) * 60 :][:200, :220]
        Image.fromarray(picture).save(folder / ("deep/er" if number % 2 else ".") / f"ünï {number}.png")
    Image.fromarray(good[0][:200, :150]).convert("CMYK").save(folder / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(good[1][:100, :300]).save(folder / "rotated.jpg", exif=exif)
    Image.fromarray((np.arange(160 * 160).reshape(160, 160) * 2).astype(np.uint16)).save(folder / "sixteen.png")
    (folder / "broken.jpg").write_bytes((folder / "rotated.jpg").read_bytes()[:3000])
    (folder / "notes.txt").write_text("not an image")
    (folder / "lies.png").write_text("not an image either")
    (folder / "empty.png").write_bytes(b"")
    Image.fromarray(good[0][:20, :20]).save(folder / "tiny.png")
    Image.new("L", (9000, 9000)).save(folder / "bomb.png")
    shutil.copy(folder / "ünï 0.png", folder / "copy.png")
    return folder


def test_folder_quarantines_with_reasons(photographs, tmp_path):
    chosen = config.load(overrides=("source.kind=folder", f"source.path={photographs}"))
    found = sources.index(chosen, Workspace(tmp_path / "work"))
    reasons = {entry["file"]: entry["reason"] for entry in found.quarantine}
    assert set(reasons) == {"broken.jpg", "notes.txt", "lies.png", "empty.png", "tiny.png", "bomb.png", "ünï 0.png"} or set(
        reasons) == {"broken.jpg", "notes.txt", "lies.png", "empty.png", "tiny.png", "bomb.png", "copy.png"}
    assert "limit" in reasons["bomb.png"] and "cannot be decoded" in reasons["broken.jpg"]
    usable = {photograph.origin: photograph for photograph in found.photographs}
    assert (usable["rotated.jpg"].width, usable["rotated.jpg"].height) == (100, 300)
    assert {"cmyk.jpg", "sixteen.png"} <= set(usable)
    again = sources.index(chosen, Workspace(tmp_path / "work"))
    assert again == found
    text = json.dumps(found.model_dump())
    assert str(tmp_path) not in text  # no machine path in a versioned file


def test_crops_of_one_scene_stay_in_one_split(photographs, tmp_path):
    import skimage

    scene = skimage.data.rocket()
    for number in range(4):
        Image.fromarray(scene).resize((640 - number, 427)).save(photographs / f"burst{number}.png")
    chosen = config.load(overrides=("source.kind=folder", f"source.path={photographs}"))
    found = sources.index(chosen, Workspace(tmp_path / "work"))
    assert len({p.split for p in found.photographs if p.origin.startswith("burst")}) == 1


def test_empty_folder_is_one_sentence(tmp_path):
    (tmp_path / "none").mkdir()
    chosen = config.load(overrides=("source.kind=folder", f"source.path={tmp_path / 'none'}"))
    with pytest.raises(StageError, match="0 usable photographs, but at least 3"):
        sources.index(chosen, Workspace(tmp_path))
    with pytest.raises(StageError, match="is not a directory"):
        sources.index(config.load(overrides=("source.kind=folder", "source.path=/nowhere")), Workspace(tmp_path))


def test_changed_photograph_is_noticed(photographs, tmp_path):
    chosen = config.load(overrides=("source.kind=folder", f"source.path={photographs}"))
    workspace = Workspace(tmp_path)
    found = sources.index(chosen, workspace)
    victim = found.photographs[0]
    (photographs / victim.origin).write_bytes(b"changed")
    with pytest.raises(StageError, match="changed or vanished"):
        sources.load(victim, chosen.source, workspace)


def test_decode_refuses_truncation():
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG")
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(buffer.getvalue()[:-200])

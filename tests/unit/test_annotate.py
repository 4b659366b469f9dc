"""The annotated data set: same bytes for any number of workers and after a kill, exact masks, answers that parse back."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow import regions, sources, tasks
from iqaflow.annotate import stage, views
from iqaflow.core import config
from iqaflow.core.errors import StageError
from iqaflow.core.manifest import read_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.data import masks, tables
from iqaflow.data.images import ImageError, decode
from iqaflow.tasks.scene import Flaw, Scene


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "data").rglob("*"))
        if path.is_file()
    }


def test_two_workers_give_the_bytes_of_one(annotated, small_config, tmp_path):
    parallel = small_config.model_copy(
        update={"resources": small_config.resources.model_copy(update={"engine": "loky", "workers": 2})}
    )
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
        if row["reference"] is None:
            continue
        image, reference = decode(row["image"]), decode(row["reference"])
        assert image.shape == reference.shape == (row["height"], row["width"], 3)
        union = np.zeros(image.shape[:2], bool)
        for region in row["regions"]:
            mask = masks.decode_mask(region["mask_rle"])
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
        if row["task"] in ("identify", "refer", "describe", "describe_local"):
            assert set(parsed.categories) == set(targets["categories"]), answer
        if row["task"] == "rate":
            assert parsed.better == targets["better"]
        if row["task"] == "ground" and targets["region_ids"]:
            point, box = parsed.places
            assert point.last is None and [box.first, box.last] == targets["boxes_cells"][0]
            assert parsed.vertical and parsed.horizontal and not parsed.whole
        if row["task"] == "ground" and not targets["region_ids"]:
            assert parsed.whole
    assert seen == set(tasks.names())


def test_references_are_stored_where_somebody_looks_at_them(annotated):
    rows = {row["image_id"]: row for row in tables.read_rows(annotated / "data" / "annotated", "images")}
    shown = {
        image["image_id"]
        for row in tables.read_rows(annotated / "data" / "annotated", "conversations")
        for image in row["image_ids"]
        if image["role"] == "reference"
    }
    assert {name for name, row in rows.items() if row["reference"]} == shown | {
        name for name, row in rows.items() if row["split"] != "train"
    }
    assert any(row["reference"] is None for row in rows.values())


def test_calibration_and_test_ask_plainly(annotated):
    from iqaflow.tasks import identify

    asked = {
        split: {
            row["turns"][0]["text"]
            for row in tables.read_rows(annotated / "data" / "annotated", "conversations", split)
            if row["task"] == "identify"
        }
        for split in tables.SPLITS
    }
    assert asked["calibration"] == asked["test"] == {identify.plain_question(1), identify.plain_question(2)}
    assert len(asked["train"]) > 10


@pytest.mark.parametrize("name", ["sheet.html", "sheet.png"])
def test_sheets_show_samples_of_every_task(annotated, tmp_path, name):
    import subprocess
    import sys

    script = Path(__file__).parents[2] / "perf" / "sheets.py"
    folder = annotated / "data" / "annotated"
    done = subprocess.run(
        [sys.executable, script, "--folder", folder, "--n", "2", tmp_path / name], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert all(f"{task} 2" in done.stdout for task in tasks.names())
    if name.endswith("png"):
        assert decode((tmp_path / name).read_bytes()).shape[1] > 1000
    else:
        text = (tmp_path / name).read_text()
        assert text.count("data:image/png;base64,") == 16 and "http" not in text


# --- views ---------------------------------------------------------------------------------------------------------


def views_of(count: int, *overrides: str, photograph: np.ndarray | None = None, seed: int = 0):
    """Views cut and distorted by the real functions; they share a photograph."""
    import skimage

    chosen = config.load(overrides=("annotate.sizes_px=[[96, 96], [64, 128]]", *overrides)).annotate
    rng = np.random.default_rng(seed)
    picture = skimage.data.astronaut() if photograph is None else photograph
    return [views.distort(views.cut(picture, chosen, rng), None, f"v{at}", chosen, rng) for at in range(count)]


def changed(made) -> np.ndarray:
    return (made.image != made.view.pixels).any(2)


@pytest.mark.parametrize("feather", [0, 4])
def test_local_distortions_stay_inside_their_masks(feather):
    import cv2

    border, inside = [], []
    for one in views_of(40, "annotate.local=1", "annotate.clean=0", f"annotate.feather_px={feather}", "annotate.two=0.5"):
        if one.scene.whole:
            continue  # a view without regions
        union = np.zeros(one.image.shape[:2], bool)
        for area in one.scene.faulty_areas:
            assert area.score <= 0.9 + 1e-6
            union |= area.mask
            depth = cv2.distanceTransform(area.mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            amount = np.abs(one.image.astype(int) - one.view.pixels).mean(2)
            border.append(amount[(depth > 0) & (depth < 1.5)].mean())
            inside.append(amount[depth > 5].mean())
        assert not changed(one)[~union].any() and changed(one).any()
    assert (np.mean(border) / np.mean(inside) < 0.5) == bool(feather)


def test_ordered_views_have_two_distortions_in_each_of_several_regions():
    from iqaflow.tasks.ground import ORDERS

    made = [one for one in views_of(80, "annotate.local=1", "annotate.clean=0", "annotate.ordered=1") if one.scene.ordered]
    assert len(made) > 40
    reversed_ = 0
    for one in made:
        assert [flaw.order for flaw in one.scene.flaws] == list(range(len(one.scene.flaws)))
        pairs = [tuple(flaw.category for flaw in one.scene.flaws_of(area.region)) for area in one.scene.faulty_areas]
        assert len(pairs) in (2, 3) and len(set(pairs)) == len(pairs) and set(pairs) <= set(ORDERS)
        assert all(flaw.severity == ("slight", "obvious", "serious")[flaw.level - 1] for flaw in one.scene.flaws)
        union = np.any([area.mask for area in one.scene.faulty_areas], axis=0)
        assert not changed(one)[~union].any()
        reversed_ += any(pair[::-1] in pairs for pair in pairs)
        asked = tasks.find("ground").questions(one.scene, False, np.random.default_rng(0))
        kinds = {exchange.targets.kind for exchange in asked}
        assert sum(kind.startswith("order_") for kind in kinds) == len(pairs)
    assert reversed_ > 2


def test_without_the_knob_no_region_has_two_distortions():
    assert not any(one.scene.ordered for one in views_of(60, "annotate.ordered=0", "annotate.clean=0", "annotate.local=1"))


def test_construction_is_uniform():
    """Category, then function, then level, each uniform (DepictQA-Wild, section 3.2)."""
    from collections import Counter

    from iqaflow import distortions

    rng = np.random.default_rng(1)
    steps = [views.drawn_step(category, 5, rng) for category in (next(views.drawn_categories(rng)) for _ in range(6000))]
    by_category, by_level = Counter(step.category for step in steps), Counter(step.level for step in steps)
    assert len(by_category) == 12 and max(by_category.values()) < 1.25 * min(by_category.values())
    assert len(by_level) == 5 and max(by_level.values()) < 1.15 * min(by_level.values())
    names = Counter(step.name for step in steps if step.category == "noise")
    assert set(names) == set(distortions.categories()["noise"].functions) and max(names.values()) < 1.6 * min(names.values())


def test_share_of_clean_images_is_the_knob():
    made = views_of(200, "annotate.clean=0.3")
    assert 0.2 < np.mean([not one.scene.flaws for one in made]) < 0.4
    assert all(one.scene.flaws for one in views_of(30, "annotate.clean=0"))


def test_region_scores_do_not_need_the_rest_of_the_view():
    from iqaflow.iqa import mdsi

    for one in views_of(12, "annotate.local=1", "annotate.clean=0"):
        for area in one.scene.faulty_areas:
            region = regions.Region(area.mask, area.box, area.label)
            assert views.region_score(one.view.pixels, one.image, region) == pytest.approx(area.score, abs=1e-6)
    for one in views_of(12):
        whole = mdsi.score(mdsi.similarity(one.view.pixels, one.image))
        assert one.scene.score == pytest.approx(whole, abs=1e-6)


def test_pairs_of_equal_distortions_are_drawn_again(annotated):
    images = list(tables.read_rows(annotated / "data" / "annotated", "images"))
    by_id = {row["image_id"]: {(flaw["category"], flaw["level"]) for flaw in row["distortions"]} for row in images}
    for row in tables.read_rows(annotated / "data" / "annotated", "conversations"):
        if row["task"] == "rate":
            a, b = (by_id[image["image_id"]] for image in row["image_ids"] if image["role"] != "reference")
            assert a != b
    clean = Scene("x", 9, 9, 1.0, (), ())
    one, same, other = (replace(clean, flaws=(Flaw("blur_gaussian", "blur", level, "slight", 0, None),)) for level in (1, 1, 2))
    assert views.alike(one, same) and not views.alike(one, other) and not views.alike(clean, clean)


def test_units_use_the_segments_of_their_photograph():
    """Class names given for a whole photograph arrive in the questions about its views."""
    import skimage

    from iqaflow.annotate.synthetic import make_unit
    from iqaflow.data.photographs import Photograph

    picture = skimage.data.coffee()
    labels = np.ones(picture.shape[:2], np.uint8)
    labels[:, picture.shape[1] // 2 :] = 2
    chosen = config.load(overrides=("annotate.regions=given", "annotate.area=[0.05,0.9]", "source.masks=unused")).annotate
    photograph = Photograph(
        source_id="coffee",
        sha256="0" * 64,
        phash="0" * 16,
        split="train",
        license="CC0",
        origin="coffee.png",
        width=picture.shape[1],
        height=picture.shape[0],
    )
    found, names = [], set()
    for unit in range(6):
        images, conversations = make_unit(
            unit, "train", chosen, 3, [photograph], lambda _: picture, lambda _: regions.Segments(labels, ("table", "cup"))
        )
        found += conversations
        names |= {region["label"] for row in images for region in row["regions"]}
    assert names == {"table", "cup"}
    assert any("table" in row["turns"][0]["text"] for row in found)


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
        reasons
    ) == {"broken.jpg", "notes.txt", "lies.png", "empty.png", "tiny.png", "bomb.png", "copy.png"}
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

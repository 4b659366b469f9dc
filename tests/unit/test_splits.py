"""Near-duplicates and splits, over all data sets: exact, fast, and no scene in two splits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from iqaflow import sources
from iqaflow.core import config
from iqaflow.core.config.schema import Labelled
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Photograph
from iqaflow.sources import split
from iqaflow.sources.packaged import PACKAGED
from tests.scene_folders import indexed, scene, splits

SPLITS = ("train", "calibration", "test")


def test_grouping_equals_brute_force():
    """Random hashes with planted neighbours 0 to 13 bits away, and chains of them."""
    rng = np.random.default_rng(5)
    hashes = list(rng.integers(0, 2**64, 1500, dtype=np.uint64))
    for number in range(700):
        neighbour = hashes[int(rng.integers(0, len(hashes)))]
        for bit in rng.choice(64, number % 14, replace=False):
            neighbour ^= np.uint64(1) << np.uint64(bit)
        hashes.append(neighbour)
    hashes = np.array(hashes)
    rng.shuffle(hashes)
    leader = np.arange(len(hashes))  # all pairs, one by one
    for row in range(len(hashes)):
        for other in np.flatnonzero(np.bitwise_count(hashes[:row] ^ hashes[row]) <= split.NEAR_DUPLICATE_BITS):
            leader[leader == leader[row]] = leader[other]
    groups = split.groups(hashes)
    assert len(set(groups.tolist())) < 1900
    assert len(set(zip(leader.tolist(), groups.tolist(), strict=True))) == len(set(leader.tolist())) == len(set(groups.tolist()))


def test_many_are_grouped_without_comparing_all_pairs():
    """All pairs of these would take an hour; few bits, because among so many some random ones are ten bits apart."""
    hashes = np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64)
    assert split.groups(np.concatenate([hashes, hashes ^ np.uint64(5)]), bits=4).max() + 1 == len(hashes)


def test_copies_stay_in_one_split_as_documented(folder, tmp_path):
    """Resized, re-encoded and brightened copies are near-duplicates; mirrored and rotated ones and crops are not."""
    import skimage

    photo = Image.fromarray(skimage.data.chelsea())
    near = {
        "half.png": photo.resize((226, 150)),
        "double.png": photo.resize((902, 600)),
        "brighter.png": photo.point(lambda value: min(255, value + 12)),
    }
    far = {
        "mirrored.png": photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "turned.png": photo.rotate(90, expand=True),
        "crop.png": photo.crop((120, 60, 350, 240)),
    }
    photo.save(folder / "original.png")
    for name, image in {**near, **far}.items():
        image.save(folder / name)
    for quality in (20, 60, 95):
        photo.save(folder / f"q{quality}.jpg", quality=quality)
    found = indexed(folder, tmp_path / "work")
    bits = {one.origin: int(one.phash, 16) for one in found.photographs}
    away = {name: (bits[name] ^ bits["original.png"]).bit_count() for name in bits}
    same = {*near, "q20.jpg", "q60.jpg", "q95.jpg"}
    assert max(away[name] for name in same) <= split.NEAR_DUPLICATE_BITS < min(away[name] for name in far)
    assert len({splits(found)[name] for name in same | {"original.png"}}) == 1


def test_a_scene_stays_in_one_split_whatever_data_set_its_copies_are_in(folder, tmp_path):
    alone = indexed(folder, tmp_path / "alone")
    images = tmp_path / "labelled"
    (images / "deep").mkdir(parents=True)
    for seed in (0, 3, 8, 20, 21, 22, 23):
        scene(seed).save(images / "deep" / f"copy{seed}.jpg", quality=80)
    scene(20, 120).save(images / "again20.png")
    (images / "labels.json").write_text("{}")
    labelled = Labelled(name="people", format="coco", path=str(images / "labels.json"), images=str(images), license="CC BY 4.0")
    found = indexed(folder, tmp_path / "work", labelled=(labelled,))
    own = {photo.origin: photo.split for name in SPLITS for photo in found.of(name)}
    theirs = {photo.origin: photo.split for name in SPLITS for photo in found.of(name, "people")}
    assert own == splits(alone), "a labelled data set beside it does not change the main source"
    assert {theirs[f"deep/copy{seed}.jpg"] == own[f"scene{seed}.png"] for seed in (0, 3, 8)} == {True}
    assert theirs["again20.png"] == theirs["deep/copy20.jpg"]
    assert set(theirs.values()) == set(SPLITS) and len(theirs) == 8
    photo = found.of(theirs["again20.png"], "people")[0]
    assert photo.license == "CC BY 4.0" and photo.source_id.startswith("people.")
    chosen = config.load(overrides=("source.kind=folder", f"source.path={folder}"))
    source = chosen.source.model_copy(update={"labelled": (labelled,)})
    assert sources.path(photo, source, Workspace(tmp_path)) == images / photo.origin
    assert sources.load(photo, source, Workspace(tmp_path)).shape == (photo.height, photo.width, 3)
    with pytest.raises(StageError, match="no data set 'people'"):
        sources.path(photo, chosen.source, Workspace(tmp_path))
    assert not any("labels.json" in entry["file"] for entry in found.quarantine)


def test_packaged_photographs_keep_their_splits_beside_labelled_copies(tmp_path):
    import skimage

    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(skimage.data.chelsea()).save(images / "cat.jpg", quality=70)  # a test photograph
    Image.fromarray(skimage.data.astronaut()).save(images / "face.jpg", quality=70)  # a training one
    (tmp_path / "labels.json").write_text("{}")
    source = config.Config().source.model_copy(
        update={"labelled": (Labelled(name="people", format="coco", path=str(tmp_path / "labels.json"), images=str(images)),)}
    )
    found = sources.index(config.Config(source=source), Workspace(tmp_path / "work"))
    assert [photo.origin for photo in found.of("test", "people")] == ["cat.jpg"]
    assert [photo.origin for photo in found.of("train", "people")] == ["face.jpg"]
    assert {photo.origin for photo in found.of("test")} == set(PACKAGED["test"])


def test_a_copy_between_two_frozen_splits_is_left_out():
    def photo(name, bits, dataset="synthetic"):
        return Photograph(
            source_id=name, sha256=name, origin=name, license="", width=1, height=1, phash=f"{bits:016x}", dataset=dataset
        )

    three = [photo("a", 0), photo("b", 0b11111111), photo("between", 0b1111, "people"), photo("free", 2**60 - 1, "people")]
    chosen, left_out = split.assign(three, config.Config().source.weights, frozen={"a": "train", "b": "test"})
    assert {one.origin: one.split for one in chosen} == {"a": "train", "b": "test", "free": "test"}
    assert [entry["file"] for entry in left_out] == ["people: between"] and "a, b" in left_out[0]["reason"]


def test_limit_drops_scenes_of_the_main_source_only(folder, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for seed in range(9):
        scene(seed).save(images / f"{seed}.jpg")
    (tmp_path / "labels.json").write_text("{}")
    labelled = (Labelled(name="people", format="coco", path=str(tmp_path / "labels.json"), images=str(images)),)
    found = indexed(folder, tmp_path / "work", "source.limit=4", labelled=labelled)
    assert sum(len(found.of(name)) for name in SPLITS) == 4 and sum(len(found.of(name, "people")) for name in SPLITS) == 9
    by_scene = {photo.origin.strip("scene.pngj"): photo.split for photo in found.photographs if photo.dataset == "synthetic"}
    assert all(
        photo.split == by_scene.get(photo.origin.removesuffix(".jpg"), photo.split)
        for photo in found.photographs
        if photo.dataset == "people"
    )

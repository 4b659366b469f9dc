"""Sources: kinds by discovery, the packaged photographs, licences, inputs, and what is examined again."""

from __future__ import annotations

import pytest

from iqaflow import sources
from iqaflow.core import config
from iqaflow.core.config.schema import Labelled
from iqaflow.core.errors import StageError
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import perceptual_hash
from iqaflow.sources.packaged import PACKAGED
from tests.scene_folders import indexed, scene, splits


def test_kinds_are_found_by_listing():
    assert KINDS["sources"].names() == ("download", "dvc", "folder", "packaged")
    for module in KINDS["sources"].modules().values():
        assert callable(module.bring) and callable(module.path)


def test_packaged_splits_are_frozen(tmp_path):
    found = sources.index(config.Config(), Workspace(tmp_path))
    assert splits(found) == {name: name_split for name_split, names in PACKAGED.items() for name in names}
    photo = found.of("test")[0]
    assert photo.dataset == "synthetic" and photo.credit == "" and found.inputs == {} and found.provenance == []
    assert sources.load(photo, config.Config().source, Workspace(tmp_path)).shape == (photo.height, photo.width, 3)


def test_inputs_change_with_labels(folder, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.json").write_text("{}")
    one = Labelled(name="one", format="coco", path=str(labels), images=str(folder))
    two = Labelled(name="two", format="coco", path=str(labels / "a.json"), images=str(folder))
    before = indexed(folder, tmp_path / "work", labelled=(one, two)).inputs
    assert set(before) == {"labelled.one", "labelled.two"} and all(len(digest) == 64 for digest in before.values())
    assert indexed(folder, tmp_path / "work", labelled=(one, two)).inputs == before
    (labels / "b.json").write_text("[]")
    grown = indexed(folder, tmp_path / "work", labelled=(one, two)).inputs
    assert grown["labelled.one"] != before["labelled.one"] and grown["labelled.two"] == before["labelled.two"]
    (labels / "a.json").write_text("[1]")
    assert indexed(folder, tmp_path / "work", labelled=(two,)).inputs["labelled.two"] != before["labelled.two"]
    with pytest.raises(StageError, match=r"labelled: gone: path=.*does not exist"):
        indexed(folder, tmp_path / "work", labelled=(one.model_copy(update={"name": "gone", "path": "nowhere.json"}),))
    with pytest.raises(StageError, match="labelled: gone: images=nowhere is not a directory"):
        indexed(folder, tmp_path / "work", labelled=(one.model_copy(update={"name": "gone", "images": "nowhere"}),))


def test_licences_of_every_photograph(folder, tmp_path):
    for name in ("free", "free/inner", "other"):
        (folder / name).mkdir()
    for seed, name in enumerate(("free/a.png", "free/inner/b.png", "free/inner/c.png", "other/d.png"), 30):
        scene(seed).save(folder / name)
    (folder / "licenses.csv").write_text(
        "﻿file,license,origin\nscene1.png,CC0,Ann\nfree/inner/c.png,CC BY,https://example.org/c\ngone.png,CC0,\n", encoding="utf-8"
    )
    (folder / "free" / "LICENSE").write_text("\n# Public domain\nmore words\n")
    (folder / "free" / "inner" / "licenses.csv").write_text("file,license\nb.png,CC BY-SA\n")
    found = indexed(folder, tmp_path / "work", "source.license=mine")
    told = {photo.origin: (photo.license, photo.credit) for photo in found.photographs}
    assert told["scene0.png"] == told["other/d.png"] == ("mine", "")
    assert told["scene1.png"] == ("CC0", "Ann")
    assert told["free/a.png"] == ("Public domain", "")
    assert told["free/inner/b.png"] == ("CC BY-SA", "")
    assert told["free/inner/c.png"] == ("Public domain", "https://example.org/c"), "the nearer text wins"
    assert found.quarantine == [{"file": "licenses.csv", "reason": "names 1 files that are not there, first gone.png"}]
    (folder / "licenses.csv").write_text("name;terms\nscene1.png;CC0\n")
    with pytest.raises(StageError, match="needs the columns file,license"):
        indexed(folder, tmp_path / "work")


def test_only_changed_files_are_examined_again(folder, tmp_path, monkeypatch):
    from iqaflow.sources import cache

    looked: list[str] = []
    real = cache.look
    monkeypatch.setattr(cache, "look", lambda path, source: looked.append(path.name) or real(path, source))
    monkeypatch.setattr(cache, "MANY", 4)  # with threads
    (folder / "broken.png").write_bytes(b"no")
    first = indexed(folder, tmp_path / "work")
    assert len(looked) == 10
    looked.clear()
    assert indexed(folder, tmp_path / "work") == first and looked == []
    scene(77).save(folder / "scene3.png")
    (folder / "scene4.png").unlink()
    changed = indexed(folder, tmp_path / "work")
    assert looked == ["scene3.png"] and len(changed.photographs) == 8
    looked.clear()
    indexed(folder, tmp_path / "work", "source.min_side_px=32")  # another limit: all again
    assert len(looked) == 9
    (tmp_path / "work" / ".iqaflow" / "source-cache.json").write_text('{"limits": 3}')
    assert len(indexed(folder, tmp_path / "work").photographs) == 8


def test_hash_of_the_index_is_the_hash_of_the_pixels(folder, tmp_path):
    found = indexed(folder, tmp_path / "work")
    photo = found.photographs[0]
    source = config.load(overrides=("source.kind=folder", f"source.path={folder}")).source
    assert perceptual_hash(sources.load(photo, source, Workspace(tmp_path))) == photo.phash

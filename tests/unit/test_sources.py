"""Sources: kinds by discovery, near-duplicates and splits over all data sets, licences, inputs, bad files, DVC."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow import sources
from iqaflow.core import config
from iqaflow.core.config.schema import Labelled
from iqaflow.core.errors import PipelineError, StageError
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import perceptual_hash
from iqaflow.data.photographs import Index, Photograph
from iqaflow.sources import split
from iqaflow.sources.packaged import PACKAGED

SPLITS = ("train", "calibration", "test")


def scene(seed: int, side: int = 160) -> Image.Image:
    """A smooth random picture: no two seeds look alike."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine different scenes."""
    root = tmp_path / "photographs"
    root.mkdir()
    for seed in range(9):
        scene(seed).save(root / f"scene{seed}.png")
    return root


def indexed(folder: Path, work: Path, *overrides: str, labelled: tuple[Labelled, ...] = ()) -> Index:
    chosen = config.load(overrides=("source.kind=folder", f"source.path={folder}", *overrides))
    chosen = chosen.model_copy(update={"source": chosen.source.model_copy(update={"labelled": labelled})})
    return sources.index(chosen, Workspace(work))


def splits(found: Index) -> dict[str, str]:
    return {photo.origin: photo.split for photo in found.photographs}


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


def corpus(root: Path) -> tuple[set[str], set[str]]:
    """Files that are no good photographs, and unusual ones that are; returns (names to use, names to leave out)."""
    good, bad = set(), set()

    def keep(into: set[str], name: str, data: bytes) -> None:
        (root / name).write_bytes(data)
        into.add(name)

    def bytes_of(image: Image.Image, form: str, **how) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, form, **how)
        return buffer.getvalue()

    seeds = iter(range(100, 200))
    turned = Image.Exif()
    turned[0x0112] = 6
    grey = np.arange(160 * 160, dtype=np.uint16).reshape(160, 160) * 2
    plain = {form: bytes_of(scene(next(seeds)), form) for form in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG2000")}
    suffix = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "GIF": "gif", "JPEG2000": "jp2"}
    for form, data in plain.items():
        keep(good, f"good.{suffix[form]}", data)
        keep(bad, f"nothing.{suffix[form]}", b"")
        keep(bad, f"noise.{suffix[form]}", np.random.default_rng(next(seeds)).bytes(3000))
        if form not in ("BMP", "TIFF"):
            keep(bad, f"cut.{suffix[form]}", data[: len(data) // 2])
            keep(bad, f"header.{suffix[form]}", data[:20])
    keep(bad, "cut.bmp", plain["BMP"][:-5000])
    keep(bad, "cut.tif", plain["TIFF"][:5000])
    keep(good, "cmyk.jpg", bytes_of(scene(next(seeds)).convert("CMYK"), "JPEG"))
    keep(good, "turned.jpg", bytes_of(scene(next(seeds)).crop((0, 0, 160, 110)), "JPEG", exif=turned))
    keep(good, "sixteen.png", bytes_of(Image.fromarray(grey), "PNG"))
    keep(good, "grey.png", bytes_of(scene(next(seeds)).convert("L"), "PNG"))
    keep(good, "palette.png", bytes_of(scene(next(seeds)).convert("P"), "PNG"))
    keep(good, "alpha.png", bytes_of(scene(next(seeds)).convert("RGBA"), "PNG"))
    keep(good, "progressive.jpg", bytes_of(scene(next(seeds)), "JPEG", progressive=True))
    keep(good, "animated.gif", bytes_of(scene(next(seeds)), "GIF", save_all=True, append_images=[scene(next(seeds))]))
    keep(good, "animated.webp", bytes_of(scene(next(seeds)), "WEBP", save_all=True, append_images=[scene(next(seeds))]))
    keep(good, "really_a_png.jpg", bytes_of(scene(next(seeds)), "PNG"))
    keep(good, "UPPER.JPG", bytes_of(scene(next(seeds)), "JPEG"))
    keep(good, "two words ünï.png", bytes_of(scene(next(seeds)), "PNG"))
    keep(bad, "bomb.png", bytes_of(Image.new("1", (9_000, 9_000)), "PNG"))
    keep(bad, "claims.bmp", plain["BMP"][:18] + (60_000).to_bytes(4, "little") * 2 + plain["BMP"][26:])
    keep(bad, "tiny.png", bytes_of(scene(1, 40), "PNG"))
    keep(bad, "line.png", bytes_of(scene(2).resize((3000, 1)), "PNG"))
    keep(bad, "drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='500' height='500'/>")
    keep(bad, "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='500' height='500'/>")
    keep(bad, "page.jpg", b"<!DOCTYPE html><html><body>404</body></html>")
    keep(bad, "photo.txt", plain["PNG"])
    keep(bad, "nosuffix", plain["PNG"])
    keep(bad, "words.csv", b"a,b\n1,2\n")
    keep(bad, "copy of good.png", plain["PNG"])
    keep(bad, "vector.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n")
    keep(bad, "postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 500 500\n")
    keep(bad, "flipped.jpg", plain["JPEG"][:200] + bytes(200) + plain["JPEG"][400:600])
    (root / "link.png").symlink_to(root / "good.png")
    (root / "loop").symlink_to(root)
    (root / "broken link.png").symlink_to(root / "nowhere.png")
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    bad |= {"link.png", "loop", "broken link.png", "pipe.png"}
    with open(os.fsencode(root) + b"/caf\xe9.png", "wb") as file:  # noqa: PTH123 (Path knows no bytes)
        file.write(plain["PNG"][:-1])
    bad.add("caf\\xe9.png")
    (root / ".hidden.png").write_bytes(plain["PNG"])
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "good.png").write_bytes(plain["PNG"])
    return good, bad


def test_every_bad_file_is_classified_and_none_is_fatal(tmp_path):
    (tmp_path / "corpus").mkdir()
    good, bad = corpus(tmp_path / "corpus")
    assert len(good) + len(bad) >= 60
    found = indexed(tmp_path / "corpus", tmp_path / "work")
    used = {photo.origin for photo in found.photographs}
    reasons = {entry["file"]: entry["reason"] for entry in found.quarantine}
    # of two files with the same bytes one is used
    swapped = {"copy of good.png", "good.png"}
    assert used - swapped == good - swapped and set(reasons) - swapped == bad - swapped
    assert len(used & swapped) == 1 == len(set(reasons) & swapped)
    assert all(len(reason) > 5 and "Traceback" not in reason for reason in reasons.values())
    assert "limit" in reasons["bomb.png"] and "more pixels" in reasons["claims.bmp"]
    assert "UTF-8" in reasons["caf\\xe9.png"] and "link" in reasons["loop"]
    assert "suffix" in reasons["photo.txt"] and "known format" in reasons["drawing.png"]
    upright = next(photo for photo in found.photographs if photo.origin == "turned.jpg")
    assert (upright.width, upright.height) == (110, 160)
    json.dumps(found.model_dump()).encode("utf-8")
    assert indexed(tmp_path / "corpus", tmp_path / "work") == found, "from the cache"


AS_NOBODY = """
import imagehash, json, os, sys, scipy.sparse.csgraph  # all that is loaded late, while everything may be read
from pathlib import Path
from PIL import Image
from iqaflow.core import config
from iqaflow import regions, sources
from iqaflow.sources import cache, folder, inputs, split
from iqaflow.core.errors import StageError
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace
Image.init()
imagehash.phash(Image.new("L", (64, 64)))
chosen = config.load(overrides=("source.kind=folder", f"source.path={sys.argv[1]}"))
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print(json.dumps(sources.index(chosen, Workspace(Path(sys.argv[2]))).quarantine))
except StageError as error:
    print(json.dumps(str(error)))
"""


def test_unreadable_things_are_named(folder, tmp_path):
    """As a user without rights, as root may read anything."""
    (folder / "closed").mkdir()
    scene(50).save(folder / "closed" / "in.png")
    scene(51).save(folder / "secret.png")
    work = tmp_path / "work"
    work.mkdir()
    (folder / "closed").chmod(0)
    (folder / "secret.png").chmod(0)

    def run() -> list | str:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(folder), str(work)], capture_output=True, text=True, cwd=work, check=True
        )
        return json.loads(done.stdout)

    if os.geteuid() == 0:
        work.chmod(0o777)
        for above in (tmp_path, *tmp_path.parents[:-1]):
            above.chmod(above.stat().st_mode | 0o011)
    try:
        assert run() == [
            {"file": "closed", "reason": "the folder cannot be read (Permission denied)"},
            {"file": "secret.png", "reason": "secret.png cannot be read (Permission denied)"},
        ]
        folder.chmod(0o011)
        assert "the folder cannot be read (Permission denied)" in run()
    finally:
        folder.chmod(0o755)
        (folder / "closed").chmod(0o755)


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


PUBLISH = """
import sys
from pathlib import Path
from dvc.repo import Repo
root = Path(sys.argv[1])
publisher = Repo.init(str(root / "publisher"))
publisher.add([str(root / "publisher" / "photos")])
publisher.scm.add([str(root / "publisher" / name) for name in (".dvc", "photos.dvc", ".gitignore")])
publisher.scm.commit("photographs")
checkout = Repo.init(str(root / "checkout"))
checkout.imp(str(root / "publisher"), "photos", out=str(root / "checkout" / "photos"))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """A git and DVC checkout that has imported `photos` from another one, but not its data."""
    root = tmp_path_factory.mktemp("dvc")
    for name in ("publisher", "checkout"):
        (root / name).mkdir()
        subprocess.run(["git", "init", "-q", name], cwd=root, check=True)
        for key, value in (("user.email", "someone@example.org"), ("user.name", "Someone")):
            subprocess.run(["git", "config", key, value], cwd=root / name, check=True)
    (root / "publisher" / "photos").mkdir()
    for seed in range(4):
        scene(seed).save(root / "publisher" / "photos" / f"{seed}.png")
    # the steps of `dvc init`, `dvc add` and `dvc import` in one process, as each command takes a second to start
    done = subprocess.run([sys.executable, "-c", PUBLISH, str(root)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(root / "checkout" / "photos")  # as a fresh clone is
    shutil.rmtree(root / "checkout" / ".dvc" / "cache")
    return root / "checkout"


def test_dvc_folder_is_pulled_checked_and_its_origin_kept(imported, tmp_path):
    chosen = config.load(overrides=("source.kind=dvc", f"source.path={imported / 'photos'}", "source.license=CC0"))
    assert not (imported / "photos").exists()
    found = sources.index(chosen, Workspace(tmp_path))
    assert [photo.origin for photo in found.photographs] == ["0.png", "1.png", "2.png", "3.png"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=imported.parent / "publisher", capture_output=True, text=True)
    (told,) = found.provenance
    assert told["rev"] == head.stdout.strip() and told["url"].endswith("publisher") and told["path"] == "photos"
    (imported / "photos" / "new.png").write_bytes(b"by hand")
    with pytest.raises(StageError, match=r"differs from photos.dvc: `dvc commit"):
        sources.index(chosen, Workspace(tmp_path))
    assert (imported / "photos" / "new.png").is_file(), "nobody's file is thrown away"


def test_dvc_faults_are_sentences(imported, tmp_path):
    def index(path: Path) -> Index:
        return sources.index(config.load(overrides=("source.kind=dvc", f"source.path={path}")), Workspace(tmp_path))

    with pytest.raises(StageError, match=r"nothing.dvc is missing; bring the folder by `dvc import`"):
        index(imported / "nothing")
    (imported / "odd.dvc").write_text("- just\n- a list\n")
    with pytest.raises(StageError, match=r"odd.dvc is not a .dvc file"):
        index(imported / "odd")
    (imported / "lost.dvc").write_text(
        (imported / "photos.dvc")
        .read_text()
        .replace("  path: photos", "  path: lost")
        .replace(str(imported.parent / "publisher"), "https://user:word@localhost:9/gone.git")
    )
    with pytest.raises(PipelineError, match=r"`dvc (status|pull) .*lost.dvc` failed.*refused") as caught:
        index(imported / "lost")
    assert "word" not in str(caught.value)


def test_hash_of_the_index_is_the_hash_of_the_pixels(folder, tmp_path):
    found = indexed(folder, tmp_path / "work")
    photo = found.photographs[0]
    source = config.load(overrides=("source.kind=folder", f"source.path={folder}")).source
    assert perceptual_hash(sources.load(photo, source, Workspace(tmp_path))) == photo.phash

"""Regions: windows keep masks exact, every layout of given masks is read, SAM finds its own, and phrases are plain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iqaflow import regions
from iqaflow.core import config
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import Workspace
from iqaflow.data.masks import bounds
from iqaflow.data.photographs import Photograph
from iqaflow.regions import Segments, Window, json_parts, phrase
from iqaflow.regions.shape import segments
from iqaflow.regions.superpixels import superpixels

SHARED = Path(__file__).parents[3] / "shared" / "data"
RNG = np.random.default_rng(0)


def photo(origin: str, size: tuple[int, int] = (60, 80)) -> Photograph:
    return Photograph(
        source_id=Path(origin).stem, sha256="ab" * 32, origin=origin, license="x", width=size[1], height=size[0], phash="0" * 16
    )


def given(masks: Path, *more: str):
    return config.load(overrides=("annotate.regions=given", f"source.masks={masks}", *more))


def whole(size: tuple[int, int]) -> Window:
    return Window(0, 0, *size, size)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work")


@pytest.fixture
def picture():
    """60x80: dark green left of column 30, blue right of it."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, :30], pixels[:, 30:] = (10, 80, 10), (20, 40, 200)
    return pixels


# --- superpixels


def test_small_views_keep_their_superpixels():
    import skimage
    from skimage.segmentation import slic

    for size in ((96, 128), (128, 96), (64, 64)):
        image = skimage.data.astronaut()[40 : 40 + 2 * size[0] : 2, 100 : 100 + 2 * size[1] : 2]
        labels = slic(image, n_segments=6, compactness=12, sigma=1, start_label=0, channel_axis=-1, max_num_iter=5)
        expected = [labels == value for value in range(labels.max() + 1) if 0.06 <= (labels == value).mean() <= 0.5]
        found = superpixels(image, 6, (0.06, 0.5))
        assert expected and len(found) == len(expected)
        for region, mask in zip(found, expected, strict=True):
            assert np.array_equal(region.mask, mask)
            assert region.label == f"{phrase.colour(image[mask])} region" and region.box == bounds(mask)


def test_large_views_get_the_superpixels_of_their_reduced_copy():
    import cv2
    import skimage

    image = skimage.data.astronaut()[:, :385]  # 512x385
    small = cv2.resize(image, (96, 128), interpolation=cv2.INTER_AREA)
    found, rough = superpixels(image, 6, (0.06, 0.5)), superpixels(small, 6, (0.06, 0.5))
    assert found and [region.label for region in found] == [region.label for region in rough]
    union = np.zeros(image.shape[:2], int)
    for region, coarse in zip(found, rough, strict=True):
        union += region.mask
        large = cv2.resize(coarse.mask.astype(np.uint8), (385, 512), interpolation=cv2.INTER_NEAREST).astype(bool)
        assert (region.mask & large).sum() / (region.mask | large).sum() > 0.85
    assert union.max() == 1
    assert superpixels(np.full((300, 200, 3), 128, np.uint8), 6, (0.0, 0.4)) is not None


def test_superpixels_of_a_view_draw_their_number(workspace, picture):
    chosen = config.load()
    assert regions.of_photograph(photo("a.png"), picture, chosen, workspace) is None
    a, b = np.random.default_rng(5), np.random.default_rng(5)
    found = regions.of_view(picture, whole((60, 80)), None, chosen.annotate, a)
    expected = superpixels(picture, int(b.integers(4, 10)), chosen.annotate.area)
    assert [region.box for region in found] == [region.box for region in expected]
    assert regions.inputs(chosen, workspace) == {} and regions.left_out([photo("a.png")], chosen, workspace) == []


# --- windows


@pytest.mark.parametrize("mirrored", [False, True])
def test_mask_of_a_crop_is_the_crop_of_the_mask(mirrored):
    mask = RNG.integers(0, 5, (61, 83), dtype=np.uint16)
    window = Window(7, 11, 33, 47, (33, 47), mirrored)
    crop = mask[7:40, 11:58]
    assert np.array_equal(window.mask(mask), crop[:, ::-1] if mirrored else crop)
    image = RNG.integers(0, 256, (61, 83, 3), dtype=np.uint8)
    assert np.array_equal(window.pixels(image), image[7:40, 11:58][:, ::-1] if mirrored else image[7:40, 11:58])


@pytest.mark.parametrize(
    ("window", "most"),
    [
        (Window(3, 5, 90, 101, (31, 37)), 0.03),
        (Window(0, 0, 101, 113, (100, 112), True), 0.03),
        (Window(10, 20, 40, 30, (97, 71)), 0.02),
        (Window(50, 50, 51, 63, (17, 21), True), 0.03),
    ],
)
def test_masks_lie_where_the_pixels_show_them(window, most):
    """A white shape on black: its resized picture and its mask agree but for border pixels."""
    rows, columns = np.mgrid[:101, :113]
    mask = (rows - 60) ** 2 + (columns - 55) ** 2 < 30**2
    shown = window.pixels(np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255)[..., 0] >= 128
    cut = window.mask(mask)
    assert cut.dtype == bool and cut.shape == window.size and cut.any()
    assert (shown != cut).mean() < most


def test_window_shows_what_views_were_always_cut_as():
    import cv2

    image = RNG.integers(0, 256, (120, 150, 3), dtype=np.uint8)
    smaller = cv2.resize(image[5:105, 9:129], (60, 50), interpolation=cv2.INTER_AREA)
    assert np.array_equal(Window(5, 9, 100, 120, (50, 60)).pixels(image), smaller)
    larger = cv2.resize(image[:40, :50], (100, 80), interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(Window(0, 0, 40, 50, (80, 100)).pixels(image), larger)


def test_view_has_the_parts_of_its_window_in_order(picture):
    labels = np.zeros((60, 80), np.uint8)
    labels[:20, :30], labels[20:, :30], labels[:, 30:70], labels[:5, 70:] = 3, 1, 2, 4
    known = Segments(labels, ("dog", None, "sky", "cup"))
    chosen = config.load(overrides=("annotate.regions=given", "annotate.area=[0.06, 0.6]")).annotate
    found = regions.of_view(picture, whole((60, 80)), known, chosen, RNG)
    assert [region.label for region in found] == ["dog", "blue region", "sky"]  # the cup is too small
    assert np.array_equal(found[0].mask, labels == 1) and found[2].box == (0, 0, 30, 20)
    window = Window(0, 0, 40, 60, (20, 30), mirrored=True)  # the dog is cut, the cup is gone
    found = regions.of_view(window.pixels(picture), window, known, chosen, RNG)
    assert [(region.label, region.box) for region in found] == [
        ("dog", (15, 10, 30, 20)),
        ("blue region", (0, 0, 15, 20)),
        ("sky", (15, 0, 30, 10)),
    ]
    assert regions.of_view(picture, whole((60, 80)), None, chosen, RNG) == []


# --- phrases


def test_class_names_are_said_plainly():
    said = {
        "sky-other-merged": "sky",
        "tree-merged": "tree",
        "wall-brick": "brick wall",
        "wall-other-merged": "wall",
        "floor-wood": "wooden floor",
        "water-other": "water",
        "window-blind": "window blind",
        "door-stuff": "door",
        "traffic_light": "traffic light",
        "person, individual, someone": "person",
        "T-Shirt": "t shirt",
        "playingfield": "playing field",
        " Hot Dog ": "hot dog",
        "bücherregal": "bücherregal",
        "rug (persian)": "rug",
    }
    assert {name: phrase.plain(name) for name in said} == said
    # words that an answer would be read by
    for name in ("top", "left hand", "Noise barrier", "excellent", "whole image", "region 5", "no parking", "", "[]", "x" * 60):
        assert phrase.plain(name) is None, name
    assert phrase.crowd("person") == "group of people" and phrase.crowd("wine glass") == "group of wine glasses"


def test_like_regions_are_told_apart_only_where_position_does_not():
    size = (100, 100)
    here, there = (0, 0, 30, 30), (60, 0, 90, 30)
    assert phrase.distinguished(["dog", "dog"], [0.1, 0.1], [here, there], size) == ["dog", "dog"]
    assert phrase.distinguished(["dog", "dog"], [0.1, 0.2], [here, (5, 5, 40, 40)], size) == ["smaller dog", "larger dog"]
    cups = phrase.distinguished(["cup", "cup"], [0.1, 0.11], [(0, 25, 20, 45), (0, 0, 20, 20)], size)
    assert cups == ["lower cup", "upper cup"]
    assert phrase.distinguished(["cup", "cup"], [0.1, 0.11], [here, here], size) == ["cup", "cup"]
    told = phrase.distinguished(["cup", "cup", "cup", "dog"], [0.1, 0.3, 0.11, 0.2], [here] * 4, size)
    assert told == ["cup", "largest cup", "cup", "dog"]


# --- layouts of given masks


def panoptic(folder: Path, origin="scene.jpg", size=(60, 80), ids=(7, 16_777_215, 70_000, 300), **changes) -> Path:
    """A COCO panoptic JSON with one photograph of four segments: a dog, the sky, people, and a class that is not listed."""
    values = np.zeros(size, np.int64)
    values[:20], values[20:, :30], values[20:, 30:60], values[20:40, 60:] = ids[1], ids[0], ids[2], ids[3]
    colours = np.stack([values % 256, values // 256 % 256, values // 65536 % 256], 2).astype(np.uint8)
    (folder / "masks").mkdir(parents=True)
    Image.fromarray(colours).save(folder / "masks" / "scene.png")
    entries = [
        {"id": id, "category_id": category, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]}
        for id, category, crowd in zip(ids, (18, 187, 1, 999), (0, 0, 1, 0), strict=True)
    ]
    tree = {
        "info": {"odd": [1, {"images": []}, "]},{"], "text": 'a "quoted" }'},
        "images": [{"id": 5, "file_name": origin, "height": size[0], "width": size[1]}],
        "annotations": [{"image_id": 5, "file_name": "scene.png", "segments_info": entries}],
        "categories": [
            {"id": 1, "name": "person", "isthing": 1},
            {"id": 18, "name": "dog", "isthing": 1},
            {"id": 187, "name": "sky-other-merged", "isthing": 0},
        ],
    } | changes
    (folder / "masks.json").write_text(json.dumps(tree))
    return folder / "masks.json"


def test_coco_panoptic(tmp_path, workspace, picture):
    place = panoptic(tmp_path / "coco")
    chosen = given(place, "annotate.area=[0.06, 0.5]")
    found = regions.of_photograph(photo("deep/scene.jpg"), picture, chosen, workspace)
    assert found.names == ("dog", "sky", "group of people", None)
    assert found.labels[0, 0] == 2 and found.labels[30, 10] == 1 and found.labels[30, 40] == 3 and found.labels[59, 79] == 0
    labels = [region.label for region in regions.of_view(picture, whole((60, 80)), found, chosen.annotate, RNG)]
    assert labels == ["dog", "sky", "group of people", "blue region"]
    assert regions.of_photograph(photo("other.jpg"), picture, chosen, workspace) is None
    assert regions.left_out([photo("deep/scene.jpg"), photo("other.jpg")], chosen, workspace) == [
        {"file": "other.jpg", "reason": "source.masks has none of its name"}
    ]
    before = regions.inputs(chosen, workspace)
    index = next((workspace.state / "regions").glob("panoptic-*.sqlite"))
    index.write_bytes(b"damaged" * 500)  # made again
    assert regions.of_photograph(photo("scene.jpg"), picture, chosen, workspace).names == found.names
    (tmp_path / "coco" / "masks" / "more.png").write_bytes(b"x")
    assert regions.inputs(chosen, workspace) != before


def test_unusable_panoptic_masks_cost_their_photograph_its_regions(tmp_path, workspace, picture):
    cases = {
        "missing": ({"annotations": [{"image_id": 5, "file_name": "gone.png", "segments_info": []}]}, "gone.png is missing"),
        "large": ({"size": (60, 81)}, "80x60"),
        "turned": ({"size": (80, 60)}, "turned"),
        "huge": ({"ids": (7, 16_777_216, 70_000, 300)}, "segment 16777216"),
        "endless": ({"ids": (7, 10**30, 70_000, 300)}, "can only spell"),
        "outside": ({"annotations": [{"image_id": 5, "file_name": "../../x.png", "segments_info": []}]}, "outside"),
        "other": (
            {"annotations": [{"image_id": 5, "file_name": "scene.png", "segments_info": [{"id": 99, "category_id": 1}]}]},
            "none of the 1 segments",
        ),
    }
    for name, (changes, reason) in cases.items():
        if "ids" in changes:
            place = panoptic(tmp_path / name)
            place.write_text(place.read_text().replace("16777215", str(changes["ids"][1])))
        else:
            place = panoptic(tmp_path / name, **changes)
        chosen = given(place)
        assert regions.of_photograph(photo("scene.jpg"), picture, chosen, workspace) is None, name
        [entry] = regions.left_out([photo("scene.jpg")], chosen, workspace)
        assert entry["file"] == "scene.jpg" and reason in entry["reason"], entry
    place = panoptic(tmp_path / "mended")
    mask = tmp_path / "mended" / "masks" / "scene.png"
    whole_mask = mask.read_bytes()
    mask.write_bytes(whole_mask[:-60])
    assert regions.of_photograph(photo("scene.jpg"), picture, given(place), workspace) is None
    assert "scene.png cannot be decoded" in regions.left_out([photo("scene.jpg")], given(place), workspace)[0]["reason"]
    mask.write_bytes(whole_mask)
    assert regions.of_photograph(photo("scene.jpg"), picture, given(place), workspace) is not None
    assert regions.left_out([photo("scene.jpg")], given(place), workspace) == []


def test_unusable_places_are_one_sentence(tmp_path, workspace, picture):
    def use(place):
        return regions.of_photograph(photo("scene.jpg"), picture, given(place), workspace)

    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text('{"images": [{"id": 1, "file_name": "a.jpg", "height": 5, "wid')
    (tmp_path / "detection.json").write_text('{"annotations": [{"image_id": 5, "file_name": "a", "bbox": [1, 2, 3, 4]}]}')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "deep.json").write_text('{"a": ' + "[" * 100_000)
    for name, message in (
        ("gone", "does not exist"),
        ("empty", "none of the known layouts"),
        ("broken.json", "line 1"),
        ("detection.json", "segments_info"),
        ("list.json", "Expected {"),
        ("deep.json", "COCO panoptic"),
    ):
        with pytest.raises(StageError, match=message):
            use(tmp_path / name)
    with pytest.raises(StageError, match=r"needs source\.masks"):
        regions.inputs(config.load(overrides=("annotate.regions=given",)), workspace)
    assert not list(workspace.state.rglob(".panoptic*"))  # nothing half made is left


def test_json_is_read_part_by_part(tmp_path):
    path = tmp_path / "a.json"
    tree = {"x": {"a": [1, 2]}, "a": [{"n": "]"}, 2, [3]], "b": [], "c": None, "d": [""]}
    for indent in (None, 1):
        path.write_text(json.dumps(tree, indent=indent))
        assert list(json_parts.parts(path, ("a", "b", "d"))) == [("a", {"n": "]"}), ("a", 2), ("a", [3]), ("d", "")]
    for wrong in ('{"a": 5}', '{"a": [1 2]}', '{"a": [1,', '{"a": [1]', "", '{"a"', '{"b": [1]]'):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="line 1"):
            list(json_parts.parts(path, ("a",)))


def mat(path: Path, maps: list[np.ndarray]) -> None:
    from scipy.io import savemat

    cells = np.empty((1, len(maps)), object)
    for number, labels in enumerate(maps):
        cells[0, number] = {"Segmentation": labels, "Boundaries": labels > 1}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"groundTruth": cells})


def test_bsds(tmp_path, workspace, picture):
    rows, columns = np.mgrid[:60, :80]
    fine, middle, coarse = (columns // 10 + 1, columns // 30 + 1, columns // 40 + 1)
    mat(tmp_path / "m" / "train" / "8.mat", [fine.astype(np.uint16), coarse.astype(np.uint16), middle.astype(np.uint16)])
    mat(tmp_path / "m" / "val" / "9.mat", [(rows // 40 + 1).astype(np.uint16), coarse.astype(np.uint16)])
    mat(tmp_path / "m" / "val" / "8.mat", [coarse.astype(np.uint16)])
    mat(tmp_path / "m" / "odd.mat", [coarse[:50].astype(np.uint16)])
    (tmp_path / "m" / "bad.mat").write_bytes(b"MATLAB 5.0 but no" * 20)
    chosen = given(tmp_path / "m")
    found = regions.of_photograph(photo("train/8.jpg"), picture, chosen, workspace)
    assert np.array_equal(found.labels, middle) and found.names == (None,) * 3  # neither the finest nor the coarsest
    found = regions.of_photograph(photo("images/9.jpg"), picture, chosen, workspace)
    assert np.array_equal(found.labels, rows // 40 + 1)  # of two equals the first
    labels = [region.label for region in regions.of_view(picture, whole((60, 80)), found, chosen.annotate, RNG)]
    assert labels == ["blue region"]  # the other covers two thirds
    for origin in ("8.jpg", "odd.jpg", "bad.jpg", "none.jpg"):
        assert regions.of_photograph(photo(origin), picture, chosen, workspace) is None
    left = regions.left_out([photo(origin) for origin in ("8.jpg", "odd.jpg", "bad.jpg", "none.jpg", "9.jpg")], chosen, workspace)
    assert [entry["file"] for entry in left] == ["8.jpg", "odd.jpg", "bad.jpg", "none.jpg"]
    assert "exists 2 times" in left[0]["reason"] and "80x50" in left[1]["reason"] and "bad.mat" in left[2]["reason"]
    assert len(regions.inputs(chosen, workspace)["source.masks"]) == 64


def test_label_maps(tmp_path, workspace, picture):
    place = tmp_path / "maps"
    place.mkdir()
    values = np.zeros((60, 80), np.uint8)
    values[:, :20], values[:, 20:40], values[:20, 40:] = 4, 200, 9
    Image.fromarray(values).save(place / "eight.png")
    Image.fromarray(values.astype(np.uint16) * 300).save(place / "sixteen.png")
    palette = Image.frombytes("P", (80, 60), values.tobytes())
    palette.putpalette(RNG.integers(0, 256, 768).tolist())
    palette.save(place / "palette.png")
    Image.fromarray(np.repeat(values[..., None], 3, 2)).save(place / "colour.png")
    chosen = given(place)
    for name in ("eight", "sixteen", "palette"):
        found = regions.of_photograph(photo(f"{name}.jpg"), picture, chosen, workspace)
        assert found.names == (None,) * 3, name
        for number, id in enumerate((4, 9, 200), 1):
            assert np.array_equal(found.labels == number, values == id), name
    assert regions.of_photograph(photo("colour.jpg"), picture, chosen, workspace) is None
    assert "colour picture" in regions.left_out([photo("colour.jpg")], chosen, workspace)[0]["reason"]

    (place / "labels.json").write_text('{"4": "traffic_light", "0": "grass-merged", "200": "top"}')
    found = regions.of_photograph(photo("eight.jpg"), picture, chosen, workspace)
    assert found.names == ("grass", "traffic light", None)  # "top" would be read as a position
    assert (found.labels[:20, 40:] == 0).all() and (found.labels[30:, 40:] == 1).all()
    (place / "labels.json").write_text('["dog"]')
    with pytest.raises(StageError, match="not a table of names"):
        regions.of_photograph(photo("eight.jpg"), picture, chosen, workspace)


def test_any_ids_become_one_label_map():
    ids = np.array([[5, 2**40, -3], [0, 5, 1]])
    found = segments(ids, {2**40: "b", 5: "a", 77: "absent"})
    assert found.labels.tolist() == [[2, 1, 0], [0, 2, 0]] and found.labels.dtype == np.uint8
    many = np.arange(70_000).reshape(700, 100)
    assert segments(many, dict.fromkeys(range(1, 60_000))).labels.max() == 59_999
    with pytest.raises(ValueError, match="at most 65535"):
        segments(many, dict.fromkeys(range(70_000)))
    assert not segments(ids, {}).labels.any()


@pytest.mark.parametrize(
    ("name", "masks", "photographs"),
    [("coco_panoptic", "panoptic_train2017.json", "images"), ("bsds500", "segmentations", "images")],
)
def test_real_masks(name, masks, photographs, workspace):
    from iqaflow.data.images import decode

    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not on this machine")
    chosen = given(SHARED / name / masks)
    some = sorted((SHARED / name / photographs).rglob("*.jpg"))[:8]
    counts = []
    for path in some:
        pixels = decode(path)
        origin = path.relative_to(SHARED / name / photographs).as_posix()
        known = regions.of_photograph(photo(origin), pixels, chosen, workspace)
        side = min(pixels.shape[:2])
        window = Window(pixels.shape[0] - side, 0, side, side, (200, 200))
        found = regions.of_view(window.pixels(pixels), window, known, chosen.annotate, RNG)
        counts.append(len(found))
        assert sum(region.mask.astype(int) for region in found).max() <= 1 if found else True
        assert all(0.06 <= region.area <= 0.5 and region.label for region in found)
    assert sum(counts) >= len(some) and regions.left_out([photo(some[0].name)], chosen, workspace) == []

"""The parts of validate that need no Great Expectations: masks, pixels, leaks, answers, and what goes into the page."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from iqaflow.data.tables import encode_mask
from iqaflow.validate import answers, charts, examples, leakage, pictures, pixels
from iqaflow.validate.gate import plain
from iqaflow.validate.text import escape

LIMIT = 1_000_000
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def png(image: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=options.pop("format", "PNG"), **options)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (33, 47), (128, 96)])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98, 1.0])
def test_masks_are_read_as_cocos_own_code_writes_them(shape, share):
    mask = np.random.default_rng(0).random(shape) < share
    mask[-1, -1] = True
    read, fault = pixels.decode_mask(encode_mask(mask), *shape, LIMIT)
    assert fault is None and read.dtype == bool and np.array_equal(read, mask)


def test_long_runs():
    mask = np.ones((1000, 1000), bool)
    mask[0, 0] = False
    assert np.array_equal(pixels.decode_mask(encode_mask(mask), 1000, 1000, LIMIT)[0], mask)


@pytest.mark.parametrize(("rle", "said"), [
    (None, "no mask"),
    ({"size": None, "counts": "0"}, "no mask"),
    ({"size": [8], "counts": "0"}, "no mask"),
    ({"size": [8, 9], "counts": "0"}, "mask is 9x8 px, the image 8x8"),
    ({"size": [8, 8], "counts": ""}, "not a valid"),
    ({"size": [8, 8], "counts": "garbage"}, "not a valid"),
    ({"size": [8, 8], "counts": "é"}, "not a valid"),
    ({"size": [8, 8], "counts": "o" * 40}, "not a valid"),
    ({"size": [8, 8], "counts": encode_mask(np.ones((9, 9), bool))["counts"]}, "not a valid"),
    (encode_mask(np.zeros((8, 8), bool)), "empty"),
])
def test_bad_masks_are_a_reason(rle, said):
    mask, fault = pixels.decode_mask(rle, 8, 8, LIMIT)
    assert mask is None and said in fault


def test_a_huge_mask_is_not_allocated():
    size = [10**6, 10**6]
    mask, fault = pixels.decode_mask({"size": size, "counts": "0"}, *size, LIMIT)
    assert mask is None and "limit" in fault


def test_images_are_taken_as_they_are():
    colours = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image, fault, mode, size = pixels.decode(png(colours), LIMIT)
    assert np.array_equal(image, colours) and (fault, mode, size) == (None, "RGB", (50, 40))
    assert pixels.decode(png(colours, format="JPEG"), LIMIT)[1] is None
    assert pixels.decode(png(colours[..., 0]), LIMIT)[::2] == (None, "L")  # not converted: named by its mode


@pytest.mark.parametrize(("data", "said"), [
    (b"", "no bytes"),
    (None, "no bytes"),
    (b"no image at all", "not a readable"),
    (png(np.full((64, 64, 3), 7, np.uint8))[:-30], "cannot be decoded"),
    (png(NOISE, format="JPEG")[:900], "cannot be decoded"),
    (png(np.zeros((64, 64, 3), np.uint8), format="GIF"), "not a readable"),
    (png(np.zeros((1001, 1000, 3), np.uint8)), "above the limit"),
])
def test_bad_images_are_a_reason(data, said):
    image, fault, _, _ = pixels.decode(data, LIMIT)
    assert image is None and said in fault
    assert " at 0x" not in fault  # an object's address would make the report's bytes differ from run to run


def photographs(*rows):
    """Images frame from (source_id, sha256, phash, split)."""
    frame = pd.DataFrame(rows, columns=["source_id", "source_sha256", "phash", "split"])
    frame["image_id"] = [f"i{number}" for number in range(len(frame))]
    return leakage.photographs(frame).set_index("source_id")


def test_leaks_between_splits():
    found = photographs(
        ("a", "1", "00000000000000ff", "train"), ("a", "1", "00000000000000ff", "train"),
        ("b", "2", "00000000000000f0", "test"),  # 4 bits from a
        ("c", "3", "ffffffffffffffff", "train"),
        ("d", "3", "ffffffffffffffff", "test"),  # the bytes of c under another name
        ("e", "5", "0f0f0f0f0f0f0f0f", "train"), ("e", "5", "0f0f0f0f0f0f0f0f", "calibration"),
    )
    assert found["split_count"].to_dict() == {"a": 1, "b": 1, "c": 1, "d": 1, "e": 2}
    assert found.loc["e", "splits"] == "calibration, train"
    assert found["byte_split_count"].to_dict() == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 2}
    assert found.loc["a", "nearest_distance"] == 4 and found.loc["a", "nearest_photograph"] == "b"
    assert found.loc["c", "nearest_distance"] == 0 and found.loc["c", "nearest_photograph"] == "d"
    assert (found["contents"] == 1).all()


def test_look_alikes_inside_a_split_are_no_leak_and_bad_hashes_no_crash():
    found = photographs(("a", "1", "00000000000000ff", "train"), ("b", "2", "00000000000000ff", "train"))
    assert found["nearest_distance"].isna().all()
    found = photographs(("a", "1", "xyz", "train"), ("b", "2", None, "test"), ("c", "3", "-00000000000000f", "test"))
    assert found["nearest_distance"].isna().all()


def test_look_alikes_in_many_photographs():
    rng = np.random.default_rng(0)
    hashes = [f"{int(value):016x}" for value in rng.integers(0, 2**63, 3000)]
    hashes[2990] = f"{int(hashes[7], 16) ^ 0b101:016x}"
    split = ["train"] * 2000 + ["test"] * 1000
    found = photographs(*((f"p{number}", str(number), hashes[number], split[number]) for number in range(3000)))
    assert found.loc["p7", "nearest_distance"] == 2 and found.loc["p7", "nearest_photograph"] == "p2990"
    assert (found["nearest_distance"] <= 2).sum() == 2


@pytest.mark.parametrize(("task", "style", "answer", "spans", "targets", "right"), [
    ("identify", "brief", "blur", [], {"categories": ["blur"]}, True),
    ("identify", "brief", "blur", [], {"categories": ["noise"]}, False),
    ("identify", "brief", "none", [], {"categories": []}, True),
    ("identify", "brief", "blur and noise", [], {"categories": ["blur"]}, False),
    ("refer", "brief", "serious blur", [], {"categories": ["blur"]}, True),
    ("vqa", "brief", "Yes", [], {"categories": ["blur"], "kind": "yesno_blur"}, True),
    ("vqa", "brief", "Perhaps", [], {"categories": [], "kind": "yesno_blur"}, False),
    ("score", "brief", "good", [], {}, True),
    ("score", "brief", "nice", [], {}, False),
    ("rate", "brief", "Image B", [[0, 7]], {"better": "Image B"}, True),
    ("rate", "brief", "Image B", [[0, 7]], {"better": "Image A"}, False),
    ("rate", "detailed", "Image A shows blur. Image B is best.", [[20, 27]], {"better": "Image B"}, True),
    ("ground", "brief", "top left: [red region](<21>) [red region](<0, 63>)", [], {"boxes_cells": [[0, 63]]}, True),
    ("ground", "brief", "top left: [red region](<21>) [red region](<0, 63>)", [], {"boxes_cells": [[0, 64]]}, False),
    ("ground", "brief", "whole image", [], {"boxes_cells": []}, True),
    ("nonsense", "brief", "blur", [], {}, False),
    ("identify", "brief", "", [], {"categories": ["blur"]}, True),  # named as empty by another check
])
def test_answers_are_read_back(task, style, answer, spans, targets, right):
    assert (answers.fault(task, style, answer, spans, targets) is None) == right


def test_text_of_the_data_cannot_become_markup_or_hide():
    assert escape("<b>\"'&") == "&lt;b&gt;&quot;&#x27;&amp;"
    assert "\u202e" not in escape("abc\u202efed") and "\x00" not in escape("a\x00b")
    assert escape("x" * 1000, 10) == "x" * 9 + "…"
    assert escape(None) == "" and escape(7) == "7"
    assert "<b>" not in charts.bars([("<b>", (1, 2, 3))], "<b>")


def test_values_in_the_verdict_are_strict_json():
    assert plain(np.float32(0.1)) == 0.1 and plain(float("nan")) == "nan" and plain(np.inf) == "inf"
    assert plain(np.int64(3)) == 3 and plain(4.0) == 4 and plain(np.bool_(True)) is True and plain(None) is None
    assert len(plain("x" * 999)) == 200


def test_examples_take_the_tasks_in_turn_and_no_image_twice():
    conversations = pd.DataFrame({"conversation_id": [f"c{number}" for number in range(60)],
                                  "task": ["identify", "rate", "vqa"] * 20})
    links = pd.DataFrame({"conversation_id": conversations["conversation_id"],
                          "image_id": [f"i{number // 3}" for number in range(60)]})
    chosen = examples.choose(conversations, links, 12)
    task = conversations.set_index("conversation_id")["task"]
    assert [task[name] for name in chosen[:6]] == ["identify", "rate", "vqa"] * 2
    image = links.set_index("conversation_id")["image_id"]
    assert len(chosen) == 12 == len({image[name] for name in chosen})
    assert examples.choose(conversations.iloc[::-1], links.iloc[::-1], 12) == chosen
    assert len(examples.choose(conversations, links, 100)) == 20  # there are only twenty images


def test_outline_follows_the_mask():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 4:12] = True
    path = pictures.outline(mask)
    assert path.startswith("M") and path.endswith("Z") and path.count("M") == 1
    corners = {tuple(map(float, point.split())) for point in path[1:-1].split("L")}
    assert {(4.5, 5.5), (11.5, 5.5), (11.5, 14.5), (4.5, 14.5)} <= corners


def test_importing_is_light():
    code = ("import sys, iqaflow.validate.stage, iqaflow.validate.report, iqaflow.validate.suites; "
            "print([name for name in ('great_expectations', 'pandas', 'torch', 'cv2') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

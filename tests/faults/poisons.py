"""The poisons, one small function each: it spoils a row that no other poison has touched and returns what must be named;
poison_table.py names them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from iqaflow.data import masks
from tests.faults.poison_rows import decode, encode, spoilt

ATTACK = "<script>alert('poison')</script>"


class Poisoner:
    """A copy of clean rows, and rows of it that no poison has touched yet."""

    def __init__(self, rows) -> None:
        self.images, self.conversations = copy.deepcopy(rows[0]), copy.deepcopy(rows[1])
        self.used: set[str] = set()

    def image(self, wanted=lambda row: True, origin="synthetic"):
        row = next(row for row in self.images if row["image_id"] not in self.used and row["origin"] == origin and wanted(row))
        self.used.add(row["image_id"])
        return row

    def conversation(self, wanted=lambda row: True, origin="synthetic"):
        row = next(
            row
            for row in self.conversations
            if row["conversation_id"] not in self.used
            and row["origin"] == origin
            and wanted(row)
            and not self.used & {link["image_id"] for link in row["image_ids"]}
        )
        self.used.add(row["conversation_id"])
        return row

    def of(self, split, task=None):
        return [row for row in self.conversations if row["split"] == split and task in (None, row["task"])]


def pristine(row):
    """With its reference, so that pixels can be compared."""
    return row["reference"] is not None


def local(row):
    return spoilt(row) and pristine(row)


def overall(row):
    return bool(row["distortions"]) and all(flaw["region_id"] is None for flaw in row["distortions"]) and pristine(row)


def brief(task):
    return lambda row: row["task"] == task and row["style"] == "brief"


def aimed(row):
    return row["task"] == "ground" and bool(row["targets"]["region_ids"])


def answer(row):
    return row["turns"][-1]


def with_value(key: str, value, wanted=lambda row: True, origin="synthetic") -> Callable:
    """A poison that sets one column of an image."""

    def poison(data):
        row = data.image(wanted, origin)
        row[key] = value
        return row["image_id"]

    return poison


def in_first(nested: str, key: str, value, wanted) -> Callable:
    """A poison that sets one field of the first distortion or region; `value` may be computed from the row."""

    def poison(data):
        row = data.image(wanted)
        row[nested][0][key] = value(row) if callable(value) else value
        return row["image_id"]

    return poison


def saying(text, wanted=lambda row: True, origin="synthetic", turn=-1) -> Callable:
    """A poison that puts words into a turn."""

    def poison(data):
        row = data.conversation(wanted, origin)
        row["turns"][turn]["text"], row["answer_spans"] = text, []
        return row["conversation_id"]

    return poison


def asked(key: str, value, wanted=lambda row: True) -> Callable:
    """A poison that sets one column of a conversation."""

    def poison(data):
        row = data.conversation(wanted)
        row[key] = value
        return row["conversation_id"]

    return poison


def meaning(key: str, value, wanted) -> Callable:
    """A poison that sets one target of a conversation; `value` may be computed from the targets."""

    def poison(data):
        row = data.conversation(wanted)
        row["targets"][key] = value(row["targets"]) if callable(value) else value
        return row["conversation_id"]

    return poison


# ---------------------------------------------------------------- images


def wider(row):
    box = row["regions"][0]["box_xyxy"]
    return [box[0], box[1], row["width"] + 40.0, box[3]]


def turned(row):
    x0, y0, x1, y1 = row["regions"][0]["box_xyxy"]
    return [x1, y0, x0, y1]


def narrower(row):
    x0, y0, x1, y1 = row["regions"][0]["box_xyxy"]
    return [x0, y0, x1 - 1, y1]


def other_size(row):
    mask = np.zeros((row["height"] + 8, row["width"]), bool)
    mask[3:9, 4:20] = True
    return masks.encode_mask(mask)


def cut(row):
    mask = row["regions"][0]["mask_rle"]
    return {**mask, "counts": mask["counts"][:-2]}


def repainted(change: Callable, wanted) -> Callable:
    """A poison that changes the picture: `change(row)` gives its new bytes."""

    def poison(data):
        row = data.image(wanted)
        row["image"] = change(row)
        return row["image_id"]

    return poison


def one_pixel_outside(row):
    image = decode(row["image"])
    named = {flaw["region_id"] for flaw in row["distortions"]}
    mask = np.logical_or.reduce(
        [masks.decode_mask(region["mask_rle"]) for region in row["regions"] if region["region_id"] in named]
    )
    y, x = np.argwhere(~mask)[0]
    image[y, x] ^= 1  # by one grey level
    return encode(image)


def one_pixel(row):
    image = decode(row["image"])
    image[0, 0] ^= 255
    return encode(image)


def given_twice(data):
    row = data.image(overall)
    data.images.append(copy.deepcopy(row))
    return row["image_id"]


def same_picture_elsewhere(data):
    row = data.image(lambda row: row["split"] == "train" and overall_or_clean(row))
    other = data.image(
        lambda other: (
            other["split"] == "test" and other["width"] == row["width"] and other["height"] == row["height"] and pristine(other)
        )
    )
    other["image"] = row["image"]
    return other["image_id"]


def overall_or_clean(row):
    return not spoilt(row)


# ---------------------------------------------------------------- conversations


def asked_twice(data):
    row = data.conversation()
    data.conversations.append(copy.deepcopy(row))
    return row["conversation_id"]


def no_such_image(data):
    row = data.conversation()
    row["image_ids"][-1]["image_id"] = "nowhere-000001"
    return row["conversation_id"]


def label_too_long(data):
    row = data.conversation(brief("identify"))
    row["answer_spans"][0] = [0, len(answer(row)["text"]) + 1]
    return row["conversation_id"]


def empty_label(data):
    row = data.conversation(brief("identify"))
    row["answer_spans"][0] = [2, 2]
    return row["conversation_id"]


def foreign_role(data):
    row = data.conversation()
    row["turns"].insert(0, {"role": "system", "text": "Be kind."})
    return row["conversation_id"]


def wrong_answer(data):
    row = data.conversation(lambda row: brief("identify")(row) and row["targets"]["categories"] == ["blur"])
    answer(row)["text"], row["answer_spans"] = "noise", [[0, 5]]
    return row["conversation_id"]


def two_truths(data):
    """The same question about the same image once more, answered otherwise."""
    row = data.conversation(lambda row: brief("identify")(row) and row["targets"]["categories"])
    twin = copy.deepcopy(row)
    twin["conversation_id"] += "-again"
    other = "noise" if row["targets"]["categories"] == ["blur"] else "blur"
    twin["targets"]["categories"], answer(twin)["text"], twin["answer_spans"] = [other], other, [[0, len(other)]]
    data.conversations.append(twin)
    return twin["conversation_id"]


def other_choice(targets):
    return {"Image A": "Image B", "Image B": "Image A"}[targets["better"]]


def other_rating(data):
    row = data.conversation(lambda row: row["task"] == "score" and row["targets"]["kind"] == "image")
    text = "bad" if answer(row)["text"] in ("good", "excellent") else "excellent"
    answer(row)["text"], row["answer_spans"] = text, [[0, len(text)]]
    return row["conversation_id"]


def order_swapped(data):
    row = data.image(origin="authentic")
    for flaw in row["distortions"]:
        flaw["order"] = 1 - flaw["order"]
    return f"{row['image_id']}-order"


def absent_category(data):
    """A question for the worst of something the region does not have."""
    row = data.conversation(aimed)
    others = [name for name in ("oversharpen", "darken", "blur") if name not in row["targets"]["categories"]]
    row["targets"]["kind"] = f"worst_{others[0]}"
    return row["conversation_id"]


def box_off_the_grid(data):
    row = data.conversation(origin="imported")
    answer(row)["text"] = "The [house](<12, 477>) is soft."
    return row["conversation_id"]


def box_not_meant(data):
    row = data.conversation(origin="grounded")
    row["targets"]["boxes_cells"] = row["targets"]["boxes_cells"][:2]
    return row["conversation_id"]


def synthetic_words_about_people(data):
    row = data.conversation(origin="authentic")
    row["origin"] = "synthetic"
    return row["conversation_id"]


# ---------------------------------------------------------------- the set as a whole


def leaked_photograph(data):
    stolen = next(row for row in data.images if row["split"] == "test" and row["origin"] == "synthetic")
    row = data.image(lambda row: row["split"] == "train")
    for key in ("source_id", "source_sha256", "phash"):
        row[key] = stolen[key]
    return stolen["source_id"]


def near_duplicate(data):
    near = [row for row in data.images if row["split"] == "test" and row["origin"] == "synthetic"][-1]
    row = data.image(lambda row: row["split"] == "train")
    row |= {"source_id": "photo-of-its-own", "source_sha256": "ab" * 32, "phash": f"{int(near['phash'], 16) ^ 0b11:016x}"}
    return "photo-of-its-own"


def labelled_leak(data):
    """A photograph of the test split comes back in a labelled data set, in training, under another name."""
    test = next(row for row in data.images if row["split"] == "calibration" and row["origin"] == "synthetic")
    row = data.image(lambda row: row["split"] == "train", origin="authentic")
    row |= {"source_id": "people/img_1.jpg", "source_sha256": test["source_sha256"], "phash": test["phash"]}
    return "people/img_1.jpg"


def one_wording(data):
    for row in data.of("train", "score"):
        row["turns"][0]["text"] = "How good is it?"
    return "score"


def parrot(data):
    """A task whose rows all say the same of the same image."""
    first = data.of("train", "describe_local")[0]
    for row in data.of("train", "describe_local"):
        row["image_ids"], row["turns"] = copy.deepcopy(first["image_ids"]), copy.deepcopy(first["turns"])
        row["answer_spans"], row["targets"] = copy.deepcopy(first["answer_spans"]), copy.deepcopy(first["targets"])
    return "describe_local"


def one_category(data):
    for row in data.images:
        for flaw in row["distortions"]:
            if row["split"] == "train" and row["origin"] == "synthetic":
                flaw |= {"category": "noise", "name": "noise_gaussian_RGB"}
    return "noise"


def always_yes(data):
    for row in data.of("train", "vqa"):
        if row["targets"]["kind"].startswith("yesno") and row["style"] == "brief":
            answer(row)["text"], row["answer_spans"] = "Yes", [[0, 3]]
    return "vqa: Yes"

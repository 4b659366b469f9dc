"""Every label format, read from a small file; whatever else a file holds is left out with a reason, never an exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iqaflow.annotate import imports
from iqaflow.annotate.imports import label_studio, vocabulary
from iqaflow.core.config.schema import Labelled
from iqaflow.core.errors import ConfigError, InputError
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace
from iqaflow.data.masks import decode_mask


def read(tmp_path: Path, form: str, content: Any, name: str = "labels.json") -> tuple[list[imports.Item], list[tuple[str, str]]]:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    left_out: list[tuple[str, str]] = []
    labelled = Labelled(name="people", format=form, path=str(path), images="images")
    items = imports.read(labelled, Workspace(tmp_path), lambda what, reason: left_out.append((what, reason)))
    return items, left_out


def test_formats_are_found_and_unknown_ones_are_named(tmp_path) -> None:
    known = ("coco", "dq495k", "label_studio", "llava", "pathway", "q_instruct", "qground", "scores")
    assert KINDS["formats"].names() == known
    with pytest.raises(ConfigError, match=r"people: format: 'voc' is unknown; choose one of coco, dq495k"):
        read(tmp_path, "voc", [])


def test_coco(tmp_path) -> None:
    items, left_out = read(
        tmp_path,
        "coco",
        {
            "images": [
                {"id": 1, "file_name": "a/b.jpg"},
                {"id": 2, "file_name": "../secret.jpg"},
                {"id": 3, "file_name": "c.jpg"},
            ],
            "categories": [{"id": 7, "name": "motion blur"}, {"id": 8, "name": "dog"}],
            "annotations": [
                {"image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 40], "severity": "severe"},
                {
                    "image_id": 1,
                    "category_id": 8,
                    "segmentation": [[0, 0, 9, 0, 9, 9]],
                    "distortions": ["low light", "grain"],
                    "attributes": {"severity": 2},
                },
                {"image_id": 1, "category_id": 8, "segmentation": {"size": [4, 4], "counts": "0a"}, "distortions": ["noise"]},
                {"image_id": 1, "category_id": 8, "bbox": [1, 2, 3, 4]},
                {"image_id": 1, "category_id": 7, "bbox": [1, "NaN", 3, 4]},
                "nonsense",
            ],
        },
    )
    (item,) = items
    assert item.images == (("image", "a/b.jpg"),)
    box, polygon, rle = item.findings
    assert box.shape == ("box", (10, 20, 40, 60)) and box.distortions == (("blur", 4.0),) and box.label is None
    assert polygon.shape == ("polygons", ((0, 0, 9, 0, 9, 9),)) and polygon.label == "dog"
    assert polygon.distortions == (("darken", 2.0), ("noise", 2.0))
    assert rle.shape == ("rle", {"size": [4, 4], "counts": "0a"})
    assert [what for what, _ in left_out] == ["annotation 3", "annotation 4", "annotation 5", "image 1"]


def packed(values: np.ndarray) -> bytes:
    """Label Studio's brush code, by its description: runs of equal words, else one literal run after the other."""
    bits: list[str] = [f"{len(values):032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in (3, 4, 8, 16))]
    at = 0
    while at < len(values):
        end = at
        while end < len(values) and values[end] == values[at] and end - at < 2**16:
            end += 1
        if end - at > 1:
            size = next(index for index, limit in enumerate((3, 4, 8, 16)) if end - at <= 2**limit)
            bits += ["1", f"{size:02b}", f"{end - at - 1:0{(3, 4, 8, 16)[size]}b}", f"{values[at]:08b}"]
        else:
            end = min(at + 5, len(values))
            bits += ["0", "00", f"{end - at - 1:03b}", *(f"{value:08b}" for value in values[at:end])]
        at = end
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[place : place + 8], 2) for place in range(0, len(text), 8))


def test_label_studio_with_its_brush(tmp_path) -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 60), bool)
    mask[5:20, 10:35] = rng.random((15, 25)) > 0.3
    rgba = np.repeat((mask * 255).astype(np.uint8)[..., None], 4, axis=2)
    code = packed(rgba.ravel())
    assert np.array_equal(label_studio.unpacked(code, rgba.size), rgba.ravel())
    size = {"original_width": 60, "original_height": 40}
    items, left_out = read(
        tmp_path,
        "label_studio",
        [
            {
                "data": {"image": "/data/upload/3/1a2b-photo.jpg"},
                "annotations": [
                    {
                        "result": [
                            {
                                "id": "r1",
                                "type": "rectanglelabels",
                                **size,
                                "value": {"x": 10, "y": 25, "width": 50, "height": 50, "rectanglelabels": ["Blur"]},
                            },
                            {"id": "r1", "type": "choices", "value": {"choices": ["Severe"]}},
                            {
                                "id": "r2",
                                "type": "polygonlabels",
                                **size,
                                "value": {"points": [[0, 0], [50, 0], [50, 100]], "polygonlabels": ["overexposed", "noise"]},
                            },
                            {
                                "id": "r3",
                                "type": "brushlabels",
                                **size,
                                "value": {"rle": list(code), "brushlabels": ["jpeg artifacts"]},
                            },
                            {
                                "id": "r4",
                                "type": "brushlabels",
                                **size,
                                "value": {"rle": list(code[:9]), "brushlabels": ["noise"]},
                            },
                            {
                                "id": "r5",
                                "type": "rectanglelabels",
                                **size,
                                "value": {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["beautiful"]},
                            },
                            {"id": "c1", "type": "choices", "value": {"choices": ["low contrast"]}},
                        ]
                    }
                ],
            },
            {"data": {"image": "http://host/data/local-files/?d=set/photo2.jpg"}, "annotations": []},
            {"data": {"image": "/data/local-files/?d=../../etc/passwd"}, "annotations": []},
        ],
    )
    (item,) = items
    assert item.images == (("image", "1a2b-photo.jpg"),)
    box, polygon, brush, whole = item.findings
    assert box.shape == ("box", (6.0, 10.0, 36.0, 30.0)) and box.distortions == (("blur", 4.0),)
    assert polygon.shape == ("polygons", ((0, 0, 30, 0, 30, 40),))
    assert [name for name, _ in polygon.distortions] == ["brighten", "noise"]
    assert np.array_equal(decode_mask(brush.shape[1]), mask) and brush.distortions == (("compression", None),)
    assert whole.shape is None and whole.distortions == (("contrast_weaken", None),)
    assert [what for what, _ in left_out] == ["task 0, result 3", "task 0, result 4", "task 2"]


def test_chat_and_questions(tmp_path) -> None:
    items, left_out = read(
        tmp_path,
        "llava",
        [
            {
                "image": "a.jpg",
                "conversations": [
                    {"from": "human", "value": "<image>\nIs it sharp?"},
                    {"from": "gpt", "value": "Yes."},
                    {"from": "human", "value": "Why?"},
                    {"from": "gpt", "value": "Clean edges."},
                ],
            },
            {
                "images": ["a.jpg", "b.jpg"],
                "messages": [{"role": "user", "content": "Which is better?"}, {"role": "assistant", "content": "Image B"}],
            },
            {"image": "/etc/passwd", "conversations": []},
            7,
            {"image": "a.jpg", "conversations": [{"from": "gpt", "value": "Yes."}]},
        ],
    )
    assert items[0].dialogue == (("Is it sharp?", "Yes."), ("Why?", "Clean edges."))
    assert items[1].images == (("A", "a.jpg"), ("B", "b.jpg")) and len(left_out) == 3
    items, _ = read(tmp_path, "q_instruct", '{"img_path": "c.jpg", "question": "Blurry?", "correct_ans": "No"}\n')
    assert items == [imports.Item((("image", "c.jpg"),), dialogue=(("Blurry?", "No"),))]
    items, left_out = read(
        tmp_path,
        "dq495k",
        [
            {"image_ref": "r.png", "image_A": {"img_path": "a.png"}, "image_B": "b.png", "query": "Better?", "answer": "Image A"},
            {"image_ref": "r.png", "image_A": "a.png", "query": "What is wrong?", "answer": "blur"},
            {"image_ref": "r.png"},
        ],
    )
    assert items[0].images == (("reference", "r.png"), ("A", "a.png"), ("B", "b.png"))
    assert items[1].images == (("reference", "r.png"), ("image", "a.png")) and len(left_out) == 1


def test_descriptions_and_qground(tmp_path) -> None:
    items, _ = read(tmp_path, "pathway", "image,description,score\nd.jpg,The sky is noisy.,0.4\n,nothing,\n", "labels.csv")
    assert items == [imports.Item((("image", "d.jpg"),), description="The sky is noisy.", score=0.4)]
    items, left_out = read(
        tmp_path,
        "qground",
        [
            {
                "image": "q.jpg",
                "description": "Dark.",
                "ann_list": [
                    {"segmentation": [[0, 0, 5, 0, 5, 5]], "category_name": "low light"},
                    {"segmentation": [], "category_name": "blur"},
                ],
            }
        ],
    )
    assert items[0].findings[0].distortions == (("darken", None),) and items[0].description == "Dark." and len(left_out) == 1


@pytest.mark.parametrize("form", KINDS["formats"].names())
@pytest.mark.parametrize("content", ["", "{", "7", '"text"', "\x00", "[[[[", '{"images": 3}'])
def test_files_broken_as_a_whole_are_one_sentence(tmp_path, form, content) -> None:
    try:
        items, _ = read(tmp_path, form, content)
    except InputError as error:
        assert "labels.json" in str(error) and "\n" not in str(error)
    else:
        assert items == []  # an empty file of lines holds no entries


@pytest.mark.parametrize("form", [form for form in KINDS["formats"].names() if form != "scores"])  # a CSV file, in test_scores.py
def test_hostile_values_never_raise(tmp_path, form) -> None:
    """Values of every kind in every place of a well-formed entry."""
    rng = np.random.default_rng(1)
    values = [None, True, 0, -1, 1e308, "", "x" * 30_000, "<script>", [], [[]], [None], {}, {"a": None}, ["../x"], "a.jpg", 3.5]
    keys = (
        "image",
        "images",
        "img_path",
        "image_A",
        "image_ref",
        "data",
        "annotations",
        "ann_list",
        "conversations",
        "messages",
        "question",
        "answer",
        "description",
        "categories",
        "bbox",
        "segmentation",
        "distortions",
        "severity",
        "id",
        "image_id",
        "file_name",
        "result",
        "value",
        "type",
        "rectanglelabels",
        "rle",
        "points",
        "attributes",
    )

    def made(depth: int) -> Any:
        if depth == 0 or rng.random() < 0.4:
            return values[int(rng.integers(len(values)))]
        if rng.random() < 0.4:
            return [made(depth - 1) for _ in range(int(rng.integers(4)))]
        return {keys[int(rng.integers(len(keys)))]: made(depth - 1) for _ in range(int(rng.integers(1, 7)))}

    for _ in range(150):
        entries = [made(4) for _ in range(6)]
        tree = {"images": entries, "annotations": [made(3) for _ in range(6)]} if form == "coco" else entries
        for item in read(tmp_path, form, tree)[0]:
            assert all(".." not in name and not name.startswith("/") for _, name in item.images)


def test_words_of_people() -> None:
    assert vocabulary.faults(["Severe motion blur", "banding", "pretty", {"distortion": "haze", "severity": "mild"}]) == (
        ("blur", 4.0),
        ("quantization", None),
        ("contrast_weaken", 1.0),
    )
    assert vocabulary.category("Insufficient brightness") == "darken" and vocabulary.category("cat") is None
    assert (vocabulary.level("5"), vocabulary.level(3), vocabulary.level(9), vocabulary.level(True)) == (5.0, 3.0, None, None)

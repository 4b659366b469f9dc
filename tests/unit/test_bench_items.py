"""Reading answers, building the truth, grading: what decides every number of the benchmark."""

from __future__ import annotations

import pytest

from iqaflow.benchmark import items
from iqaflow.core.config import load
from iqaflow.core.errors import StageError
from iqaflow.tasks.grading import answers
from iqaflow.tasks.grading import items as questions


def image(name: str, *flaws: tuple[str, float, int | None], score: float | None = 0.5, source: str = "photo") -> dict:
    return {
        "image_id": name,
        "source_id": source,
        "width": 40,
        "height": 40,
        "score": score,
        "score_source": "test",
        "image": b"",
        "reference": None,
        "regions": [],
        "distortions": [
            {"category": category, "level": level, "region_id": region, "severity": "obvious"}
            for category, level, region in flaws
        ],
    }


def asked(
    number: int,
    task: str,
    answer: str,
    *images: tuple[str, str],
    style: str = "brief",
    mode: str = "nr",
    question: str = "?",
    **targets,
) -> dict:
    blank = {"categories": [], "levels": [], "region_ids": [], "boxes_cells": [], "better": None, "kind": ""}
    return {
        "conversation_id": f"c{number:02d}",
        "task": task,
        "style": style,
        "reference_mode": mode,
        "image_ids": [{"role": role, "image_id": name} for role, name in images],
        "turns": [{"role": "user", "text": question}, {"role": "assistant", "text": answer}],
        "targets": {**blank, **targets},
    }


def test_findings_read_severities_and_tell_clean_from_gibberish():
    assert answers.findings("serious noise, slight blur") == [("serious", "noise"), ("slight", "blur")]
    assert answers.findings("The sky shows overly high contrast.") == [(None, "contrast_strengthen")]
    assert answers.findings("This region shows none, it is clear.") == []
    assert answers.findings("No distortion, the quality is good.") == []
    assert answers.findings("purple") is None


def test_labels_have_one_spelling():
    assert answers.label("Noise and blur.") == answers.label("blur and noise") == "blur and noise"
    assert answers.severities("slight noise, serious blur") == "serious blur, slight noise"
    assert answers.label("purple ") == "purple"


@pytest.mark.parametrize(
    ("target", "said", "credit"),
    [
        ("blur", "blur", 1),
        ("blur", "noise", 0),
        ("none", "none", 1),
        ("none", "blur", 0),
        ("blur", "none", 0),
        ("blur and noise", "noise and blur", 1),
        ("blur and noise", "blur", 0.5),
        ("blur", "blur and noise", 0.5),
        ("blur and noise", "blur and darken", 0.5),
        ("none", "purple", 0),
        ("blur", "", 0),
    ],
)
def test_set_credit(target, said, credit):
    assert answers.set_credit(target, said) == credit


def test_boxes_cover_their_cells_and_bad_ones_are_left_out():
    assert answers.boxes("the [Gray  sky](<0, 21>)") == [("gray sky", (0.0, 0.0, 0.1, 0.1))]
    assert answers.boxes("[a](<5>) [b](<21, 0>) [c](<0, 400>)") == []
    assert answers.strip_boxes("the [sky](<0, 21>) is [x](<3>) gone") == "the sky is x gone"


def test_truth_of_every_family():
    images = [
        image("a", ("blur", 3, None)),
        image("b", score=0.9),
        image("c", ("noise", 2, 0)),
        image("d", ("blur", 1, None), ("noise", 3, None), score=None),
    ]
    conversations = [
        asked(1, "identify", "blur", ("image", "a"), categories=["blur"]),
        asked(2, "identify", "none", ("image", "b")),
        asked(3, "identify", "noise", ("image", "c"), categories=["noise"]),
        asked(4, "identify", "blur and noise", ("reference", "d"), ("image", "d"), mode="fr", categories=["noise", "blur"]),
        asked(5, "identify", "The image shows blur.", ("image", "a"), style="detailed", categories=["blur"]),
        asked(6, "rate", "Image B", ("A", "a"), ("B", "b"), better="Image B"),
        asked(7, "ground", "top left: [x](<3>)", ("image", "c"), kind="worst_noise", region_ids=[0]),
        asked(8, "ground", "whole image", ("image", "a"), kind="worst"),
        asked(9, "refer", "slight noise", ("image", "c"), categories=["noise"], levels=[2.0], region_ids=[0]),
        asked(10, "vqa", "Yes", ("image", "c"), kind="yesno_noise"),
        asked(11, "vqa", "noise", ("image", "c"), kind="what"),
        asked(12, "describe", "Fine.", ("image", "b"), style="detailed"),
        asked(13, "identify", "blur", ("image", "gone"), categories=["blur"]),
        asked(14, "score", "good", ("image", "b")),
    ]
    found, used = questions.truth(images, conversations, load())
    got = {item["item_id"]: (item["family"], item["cell"], item["target"]) for item in found}
    assert got == {
        "a": ("score", "nr", ""),
        "b": ("score", "nr", ""),
        "c": ("score", "nr", ""),
        "c01": ("identify", "single_nr", "blur"),
        "c02": ("identify", "clean_nr", "none"),
        "c03": ("identify", "local_nr", "noise"),
        "c04": ("identify", "two_fr", "blur and noise"),
        "c06": ("rate", "nr", "Image B"),
        "c07": ("ground", "sid", "worst_noise"),
        "c08": ("ground", "whole", "whole image"),
        "c09": ("refer", "short", "slight noise"),
        "c10": ("vqa", "yesno", "yes"),
        "c11": ("vqa", "what", "noise"),
        "c12": ("describe", "nr", "Fine."),
    }
    assert [row["conversation_id"] for row in used] == sorted(got.keys() - set("abc"))
    assert next(item for item in found if item["item_id"] == "c04")["level"] == 3


def test_a_question_asked_twice_counts_once():
    images = [image("a", ("blur", 3, None))]
    twice = [
        asked(1, "identify", "blur", ("image", "a"), question="What?", categories=["blur"]),
        asked(2, "identify", "blur", ("image", "a"), question="Which?", categories=["blur"]),
    ]
    assert [row["conversation_id"] for row in questions.truth(images, twice, load())[1]] == ["c01"]


def test_descriptions_are_limited():
    images = [image("a", ("blur", 3, None), score=None), image("b", score=None)]
    rows = [asked(k, "describe", "Fine.", ("image", name), style="detailed") for k, name in enumerate("ab")]
    assert len(questions.truth(images, rows, load(overrides=("benchmark.descriptions=1",)))[0]) == 1


def test_selection_does_not_depend_on_order():
    rows = [image(f"i{k}") for k in range(40)]
    assert questions.select(rows, 10) == questions.select(rows[::-1], 10)
    assert len(questions.select(rows, None)) == 40


def test_grading_uses_the_truth_of_the_data_and_not_the_predictors():
    truth, _ = questions.truth(
        [image("a", ("blur", 3, None), score=0.25)], [asked(1, "identify", "blur", ("image", "a"), categories=["blur"])], load()
    )
    said = [
        {
            "family": "identify",
            "item_id": "c01",
            "prediction": "Noise!",
            "value": 1.0,
            "confidence": 0.1234567,
            "target": "noise",
        },
        {"family": "score", "item_id": "a", "prediction": "poor", "value": 0.3, "target_value": 0.3},
    ]
    graded = {row["family"]: row for row in items.grade("model", truth, said)}
    assert graded["identify"]["value"] == 0.0
    assert graded["identify"]["target"] == "blur"
    assert graded["identify"]["confidence"] == 0.123457
    assert graded["score"]["target_value"] == 0.25


def test_items_cannot_be_skipped_invented_or_answered_twice():
    truth, _ = questions.truth([image("a"), image("b")], [], load())
    one = {"family": "score", "item_id": "a", "value": 0.5}
    with pytest.raises(StageError, match="left 1 of 2"):
        items.grade("model", truth, [one], complete=True)
    with pytest.raises(StageError, match="did not ask"):
        items.grade("model", truth, [{**one, "item_id": "z"}])
    with pytest.raises(StageError, match="twice"):
        items.grade("model", truth, [one, one])
    assert len(items.grade("psnr", truth, [one])) == 1  # a baseline may have nothing to say


def test_the_table_has_one_order_and_one_set_of_bytes(tmp_path):
    truth, _ = questions.truth([image("a"), image("b")], [], load())
    said = [{"family": "score", "item_id": name, "value": 0.5} for name in "ba"]
    rows = items.grade("zz", truth, said) + items.grade("model", truth, said) + items.grade("aa", truth, said)
    frame = items.frame(rows)
    assert list(frame["predictor"]) == ["model", "model", "aa", "aa", "zz", "zz"]
    assert list(frame["item_id"]) == ["a", "b"] * 3
    data = items.file_bytes(frame)
    assert data == items.file_bytes(items.frame(rows[::-1]))
    (tmp_path / "items.parquet").write_bytes(data)
    assert items.file_bytes(items.read(tmp_path / "items.parquet")) == data

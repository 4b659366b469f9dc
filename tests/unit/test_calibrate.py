"""Stage two end to end on planted truths: gates, temperatures, read-outs, the record, the split, the bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from iqaflow.calibrate import confidence, stage, thresholds
from iqaflow.calibrate.fit import cut_curve, fit, fit_read_out
from iqaflow.calibrate.methods import Item, argmax_box, argmax_words, centre, interval, whole
from iqaflow.core.config import Config
from iqaflow.core.errors import ConfigError, DamagedError, StageError
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import encode_png
from iqaflow.data.masks import encode_mask, iou
from iqaflow.data.tables import conversations_schema, images_schema, write_table
from iqaflow.engine import calibration
from iqaflow.grounding.text_to_point import Settings, Spatial, map_cells, upsample

CONFIG = Config.model_validate({"calibrate": {"segmenters": ["map", "superpixels"], "points": [1, 3]}})


def corner(row: float, column: float, spread: float = 1.5) -> np.ndarray:
    rows, columns = np.mgrid[:20, :20]
    return (-((rows - row) ** 2 + (columns - column) ** 2) / (2 * spread**2)).ravel()


def item(rng: np.random.Generator, whole_truth: bool = False, sharpness: float = 1.0, noise: float = 0.5) -> Item:
    """A 60 x 80 image with a distorted rectangle, and logits of a model that sees it with noise. Its cell logits are
    `sharpness` times what they should be.
    """
    image = rng.integers(90, 160, (60, 80, 3)).astype(np.uint8)
    top, left = int(rng.integers(0, 12)), int(rng.integers(0, 12))
    rows, columns = int(rng.integers(5, 9)), int(rng.integers(5, 9))
    cells = np.zeros((20, 20), bool)
    cells[top : top + rows, left : left + columns] = True
    mask = np.repeat(np.repeat(cells, 3, 0), 4, 1)
    image[mask] = (image[mask] * 0.4).astype(np.uint8)
    if whole_truth:
        mask = np.ones_like(mask)
    middle = top + rows / 2, left + columns / 2
    words = [np.array([10 - at, at - 10]) * 0.3 + rng.normal(0, noise, 2) for at in middle]
    logits = (np.where(cells, 3.0, 0.0) + rng.normal(0, noise, (20, 20))).ravel() * sharpness
    return Item(
        image,
        mask,
        Spatial(
            words[0],
            words[1],
            float((2 if whole_truth else -2) + rng.normal()),
            logits,
            corner(top + rng.normal(), left + rng.normal()),
            corner(top + rows - 1 + rng.normal(), left + columns - 1 + rng.normal()),
        ),
        whole_truth,
        "worst" if rng.random() < 0.5 else "worst_blur",
    )


def items(count: int, seed: int = 0, **options) -> list[Item]:
    rng = np.random.default_rng(seed)
    return [item(rng, whole_truth=at % 4 == 0, **options) for at in range(count)]


def answers(count: int, tau: float, seed: int = 0, candidates: int = 5) -> list[tuple[np.ndarray, int]]:
    """Answers of a model whose logits are `tau` times too large: truths are drawn from the softmax of logits / tau."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        logits = rng.normal(0, 2, candidates)
        chances = confidence.softmax(logits)
        found.append((logits * tau, int(rng.choice(candidates, p=chances))))
    return found


# --- gates ---------------------------------------------------------------------------------------------------------


def test_whole_gate_finds_the_planted_threshold():
    values = np.concatenate([np.linspace(-3, 0.9, 40), np.linspace(1.1, 4, 20)])
    found = thresholds.fit_whole(values, np.arange(60) >= 40)
    assert found["threshold"] == pytest.approx(1.0)
    assert found["missed_global"] == found["local_called_whole"] == 0.0


def test_whole_gate_balances_its_errors():
    rng = np.random.default_rng(0)
    truth = np.arange(4000) % 4 == 0  # few global ones: plain accuracy would sacrifice them
    values = rng.normal(np.where(truth, 1.0, -1.0) + 3.0, 1.0)
    found = thresholds.fit_whole(values, truth)
    assert found["threshold"] == pytest.approx(3.0, abs=0.15)
    assert abs(found["missed_global"] - found["local_called_whole"]) < 0.01


def test_gates_without_both_kinds_change_nothing():
    assert thresholds.fit_whole(np.array([1.0, 2.0]), np.array([False, False]))["threshold"] == 0.0
    assert thresholds.fit_whole(np.array([]), np.array([]))["threshold"] == 0.0
    assert thresholds.fit_clean(np.zeros((0, 0)), np.array([]))["offset"] == 0.0
    assert thresholds.fit_clean(np.zeros((2, 3)), np.array([0, 1]))["offset"] == 0.0


def test_clean_offset_stops_false_alarms():
    # clean images: `none` is 0.5 behind; distorted ones: 3 behind. Any offset between stops all alarms at no cost.
    logs = np.array([[0.5, -9, 0.0]] * 10 + [[3.0, -9, 0.0]] * 20)
    truth = np.array([2] * 10 + [0] * 20)
    found = thresholds.fit_clean(logs, truth)
    assert 0.5 < found["offset"] < 3.0
    assert found["accuracy"] == 1.0 and found["false_alarm"] == 0.0 and found["called_clean"] == 0.0


def test_clean_offset_does_not_ruin_accuracy():
    # `none` carries no information: few clean images must not make everything clean
    rng = np.random.default_rng(0)
    logs = np.stack([np.full(200, 3.0), np.zeros(200), rng.normal(0, 0.1, 200)], 1)
    truth = np.where(np.arange(200) % 10 == 0, 2, 0)
    found = thresholds.fit_clean(logs, truth)
    assert found["accuracy"] >= 0.85 and found["false_alarm"] > 0.25


# --- confidence ----------------------------------------------------------------------------------------------------


def test_planted_temperature_is_found():
    assert confidence.fit_temperature(answers(3000, tau=2.5)) == pytest.approx(2.5, rel=0.08)
    assert confidence.fit_temperature(answers(3000, tau=0.5)) == pytest.approx(0.5, rel=0.08)
    assert confidence.fit_temperature([]) == 1.0
    wrong = [(np.array([3.0, 0.0]), 1)] * 4  # four answers do not make a model that knows nothing
    assert 1.5 < confidence.fit_temperature(wrong) < 8


def test_calibration_lowers_the_error():
    curve = confidence.calibrate(answers(2000, tau=3.0))
    assert curve["ece_before"] > 0.1 and curve["ece_after"] < 0.05
    assert sum(row["n"] for row in curve["after"]) == 2000
    empty = confidence.calibrate([])
    assert empty["temperature"] == 1.0 and empty["ece_after"] is None


def test_reliability_and_ece_by_hand():
    rows = confidence.reliability(np.array([0.95, 0.85, 0.85, 0.1]), np.array([True, True, False, False]))
    assert [(row["lo"], row["n"], row["accuracy"]) for row in rows] == [(0.0, 1, 0.0), (0.8, 2, 0.5), (0.9, 1, 1.0)]
    assert confidence.expected_error(rows) == pytest.approx((0.1 + 2 * 0.35 + 0.05) / 4)


def test_region_confidence_recovers_a_planted_line():
    rng = np.random.default_rng(0)
    scores = rng.normal(1, 1.5, 4000)
    truths = rng.random(4000) < 1 / (1 + np.exp(-(0.6 * scores - 0.5)))
    found = confidence.fit_logistic(list(scores), list(truths))
    assert found["slope"] == pytest.approx(0.6, abs=0.08) and found["offset"] == pytest.approx(-0.5, abs=0.1)
    assert found["ece_after"] < 0.03 < found["ece_before"]
    assert confidence.fit_logistic([1.0, 2.0], [True, True])["slope"] == 1.0


def test_probabilities_use_the_record():
    made = calibration.defaults() | {"clean": {"offset": 2.0}, "confidence": {"identify": {"temperature": 2.0}}}
    logs = np.log(np.array([0.5, 0.25, 0.25]))
    assert calibration.probabilities(logs, "rate", made) == pytest.approx([0.5, 0.25, 0.25])
    expected = confidence.softmax(np.array([logs[0], logs[1], logs[2] + 2.0]) / 2)
    assert calibration.probabilities(logs, "identify", made) == pytest.approx(expected)


# --- fit -----------------------------------------------------------------------------------------------------------


def test_cut_curve_is_the_iou_of_every_cut():
    made = item(np.random.default_rng(3))
    map_ = map_cells(made.spatial)
    dense = upsample(map_, made.size)
    curve = cut_curve(map_, made.true_mask)
    for at in (0, 8, 20, 50):
        assert curve[at] == pytest.approx(iou(dense >= at / 64 * dense.max(), made.true_mask), abs=0.01)


def test_planted_sharpness_is_undone():
    made = [one for one in items(24, noise=0.2, sharpness=6.0) if not one.whole_truth]
    settings, value = fit_read_out("cells", made, (0.5, 1.0, 6.0, 12.0))
    assert settings.tau_cells >= 6.0 and value > 0.7


def test_fit_beats_what_does_not_look():
    found = fit(items(48), CONFIG, seed=0)
    table = {row["method"]: row for row in found["ablation"]}
    trivial = ("whole image", "centre", "argmax words")
    final = next(row for name, row in table.items() if name.endswith("+ gate"))
    published = table["2x2 + map"]
    assert {f"{name} + map" for name in ("2x2", "cells", "soft_box", "product")} <= set(table)
    for name in (*trivial, "2x2 + map"):
        assert final["miou"]["ci95"][0] > table[name]["miou"]["ci95"][1], name
    assert published["miou"]["value"] > table["whole image"]["miou"]["value"]
    assert table["whole image"]["hit_rate"] is None and final["hit_rate"]["value"] > 0.9
    assert final["miou"]["n"] == 36 == found["items"]["local"]
    assert -2 < found["gate"]["threshold"] < 2 and found["gate"]["missed_global"] < 0.2
    assert Settings.read(found["text_to_point"]) and found["segmenter"]["name"] in CONFIG.calibrate.segmenters


def test_fit_is_deterministic():
    made = items(20, seed=5)
    first, second = (json.dumps(fit(made, CONFIG, seed=1)) for _ in range(2))
    assert first == second


def test_fit_of_words_alone_names_no_other_read_out():
    made = [
        Item(
            one.image,
            one.true_mask,
            Spatial(one.spatial.vertical, one.spatial.horizontal, one.spatial.whole),
            one.whole_truth,
            one.kind,
        )
        for one in items(12)
    ]
    found = fit(made, CONFIG, seed=0)
    assert found["text_to_point"]["read_out"] == "2x2"
    assert not any(row["method"].startswith(("cells", "soft_box", "product", "visual")) for row in found["ablation"])


def test_fit_of_nothing_and_of_global_flaws_alone():
    for made in ([], [one for one in items(8) if one.whole_truth]):
        found = fit(made, CONFIG, seed=0)
        assert found["text_to_point"] == Settings().tree() and found["ablation"] == []
        assert found["segmenter"]["name"] == "map" and found["items"]["ground"] == len(made)


def test_trivial_methods_by_hand():
    made = Item(
        np.zeros((40, 80, 3), np.uint8),
        np.ones((40, 80), bool),
        Spatial(np.array([0.0, 1.0]), np.array([1.0, 0.0]), 0.0, None, np.eye(400)[63], np.eye(400)[190]),
        False,
        "worst",
    )
    assert whole(made)[0].all()
    assert centre(made)[0].sum() == 20 * 40 and centre(made)[1] == (40.0, 20.0)
    mask, point = argmax_words(made)  # bottom left
    assert mask[20:, :40].all() and mask.sum() == 20 * 40 and point == (20.0, 30.0)
    mask, _ = argmax_box(made)  # rows 3 to 9, columns 3 to 10, cells of 2 x 4 pixels
    assert mask[6:20, 12:44].all() and mask.sum() == 14 * 32


def test_interval_covers_the_mean():
    found = interval(np.random.default_rng(0).normal(0.5, 0.1, 400), seed=0)
    assert found["ci95"][0] < found["value"] < found["ci95"][1] and found["n"] == 400
    assert found["ci95"][1] - found["ci95"][0] == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.2)


# --- stage ---------------------------------------------------------------------------------------------------------


def image_row(name: str, split: str, made: Item) -> dict:
    region = {
        "region_id": 0,
        "label": "gray region",
        "box_xyxy": [0.0, 0.0, 1.0, 1.0],
        "mask_rle": encode_mask(made.true_mask),
        "area": float(made.true_mask.mean()),
        "score": 0.3,
    }
    return {
        "image_id": name,
        "origin": "synthetic",
        "source_id": f"{split}-photo",
        "source_sha256": "0",
        "license": "CC0",
        "split": split,
        "width": 80,
        "height": 60,
        "image": encode_png(made.image),
        "reference": None,
        "distortions": [],
        "regions": [region],
        "score": 0.5,
        "score_source": "ssim",
        "phash": "0",
        "pipeline_version": "0",
        "seed": 0,
    }


def conversation_row(name: str, split: str) -> dict:
    return {
        "conversation_id": f"{name}-0",
        "origin": "synthetic",
        "image_ids": [{"role": "image", "image_id": name}],
        "task": "ground",
        "style": "brief",
        "reference_mode": "nr",
        "turns": [{"role": "user", "text": "Where is it worst?"}, {"role": "assistant", "text": "top left"}],
        "answer_spans": [[0, 3]],
        "targets": {"categories": [], "levels": [], "region_ids": [0], "boxes_cells": [], "better": None, "kind": "worst"},
        "teacher": "synthetic",
        "teacher_confidence": 1.0,
        "split": split,
    }


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkout with a committed model folder and data of all three splits, in shared parts."""
    place = Workspace(tmp_path)
    model = tmp_path / "work-model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    commit_directory(model, place.stage1)
    rng = np.random.default_rng(0)
    names = [(f"{split}-{at:02d}", split) for at in range(16) for split in ("train", "calibration", "test")]
    work = tmp_path / "work-data"
    for part, chunk in enumerate((names[:24], names[24:])):
        write_table(
            work / "images" / f"part-{part}.parquet",
            [image_row(name, split, item(rng)) for name, split in chunk],
            images_schema(),
        )
        write_table(
            work / "conversations" / f"part-{part}.parquet",
            [conversation_row(name, split) for name, split in chunk],
            conversations_schema(),
        )
    commit_directory(work, place.annotated)
    return place


def reader(seen: list[str]):
    """A model that answers from noise and truth, and notes every row it is given."""

    def read(folder, images, conversations, config):
        seen.extend(row["split"] for row in (*images, *conversations))
        named = [(np.log([0.2, 0.3, 0.5] if at % 3 else [0.6, 0.1, 0.3]), 0 if at % 2 else 2) for at in range(30)]
        return items(16, seed=2), {"identify": named, "rate": answers(40, 2.0, candidates=2)}

    return read


def test_stage_reads_calibration_only_and_writes_the_record(workspace):
    seen: list[str] = []
    result = stage.run(CONFIG, workspace, reader(seen))
    assert seen == ["calibration"] * 32  # never a test row, though all splits share their files
    made = calibration.read(workspace.calibration)
    assert made["provenance"]["items"] == {"ground": 16, "local": 12, "global": 4, "fitted": 12, "identify": 30, "rate": 40}
    assert made["provenance"]["images"] == 16 and len(made["provenance"]["stage1_manifest_sha256"]) == 64
    assert made["confidence"]["rate"]["temperature"] > 1
    folder = workspace.reports / "calibrate"
    assert {path.name for path in folder.iterdir()} == {"reliability.csv", "groundings.parquet"}
    assert (folder / "reliability.csv").read_text().startswith("task,when,lo,hi,confidence,accuracy,n\nidentify,before,")
    assert 0 < result.metrics["miou"] <= 1 and "hit_rate" in result.metrics and "ece.rate" in result.metrics
    assert "| 2x2 + map |" in result.markdown and "nan" not in result.markdown
    for path in result.images + result.artifacts:
        assert (workspace.root / path).is_file()


def test_stage_gives_the_same_bytes(workspace):
    def made() -> dict[str, bytes]:
        stage.run(CONFIG, workspace, reader([]))
        files = [workspace.calibration, *sorted((workspace.reports / "calibrate").iterdir())]
        return {path.name: path.read_bytes() for path in files}

    first = made()
    (workspace.reports / "calibrate" / "stale.png").write_bytes(b"old")
    assert made() == first


def test_stage_without_answers_changes_nothing(workspace):
    result = stage.run(CONFIG, workspace, lambda *_: ([], {}))
    made = calibration.read(workspace.calibration)
    assert made["clean"]["offset"] == 0.0 and made["confidence"] == {} and made["ablation"] == []
    assert result.metrics.get("miou") is None and (workspace.reports / "calibrate" / "groundings.parquet").is_file()


def test_stage_refuses_damage_and_emptiness(workspace, tmp_path):
    workspace.calibration.parent.mkdir(exist_ok=True)
    workspace.calibration.write_text("{}")
    (workspace.stage1 / "config.json").write_text("{ }")
    with pytest.raises(DamagedError, match=r"config\.json"):
        stage.run(CONFIG, workspace, reader([]))
    assert not workspace.calibration.exists()  # an old calibration must not outlive the model it was made for
    commit_directory(workspace.stage1, tmp_path / "moved")
    commit_directory(tmp_path / "moved", workspace.stage1)
    work = tmp_path / "train-only"
    write_table(work / "images" / "part-0.parquet", [image_row("a", "train", items(2)[1])], images_schema())
    write_table(work / "conversations" / "part-0.parquet", [conversation_row("a", "train")], conversations_schema())
    commit_directory(work, workspace.annotated)
    with pytest.raises(StageError, match="calibration"):
        stage.run(CONFIG, workspace, reader([]))


def test_stage_names_an_unknown_segmenter(workspace):
    config = Config.model_validate({"calibrate": {"segmenters": ["watershed"]}})
    with pytest.raises(ConfigError, match="watershed"):
        stage.run(config, workspace, reader([]))


def test_record_refuses_what_it_does_not_know(tmp_path):
    path = tmp_path / "calibration.json"
    for text in (
        "",
        "[]",
        "{}",
        json.dumps(calibration.defaults() | {"schema": "other/9"}),
        json.dumps({key: value for key, value in calibration.defaults().items() if key != "gate"}),
        json.dumps(calibration.defaults() | {"text_to_point": {"read_out": "oracle"}}),
    ):
        path.write_text(text)
        with pytest.raises(DamagedError, match="run `iqaflow calibrate`"):
            calibration.read(path)
    path.write_text(json.dumps(calibration.defaults()))
    assert calibration.read(path) == calibration.defaults()
    assert calibration.rounded({"a": [1.23456789, 2], "b": None}) == {"a": [1.234568, 2], "b": None}


def test_a_map_makes_a_model_honest_that_a_temperature_cannot():
    # "95 % sure" is right 97 times of 100, "60 % sure" only 40: no temperature mends both
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(600):
        sure, right = ((0.95, 0.97), (0.6, 0.4))[int(rng.integers(2))]
        logs = np.log([sure, (1 - sure) * 0.6, (1 - sure) * 0.4])
        answers.append((logs, 0 if rng.random() < right else int(rng.integers(1, 3))))
    found = confidence.calibrate(answers)
    assert (found["slope"], found["offset"]) != (1.0, 0.0) and found["ece_after"] < 0.06 < found["ece_before"]
    plain = confidence.calibrate(answers, mapped=False)
    assert (plain["slope"], plain["offset"]) == (1.0, 0.0)


def test_the_map_keeps_the_answer_and_a_distribution():
    for slope, offset in ((1.0, 0.0), (0.3, -2.0), (2.0, 1.0), (1.0, -9.0)):
        chances = calibration.surely(np.array([0.1, 0.55, 0.35]), slope, offset)
        assert chances.sum() == pytest.approx(1) and chances.argmax() == 1 and chances[2] / chances[0] == pytest.approx(3.5)
    # 0.5 has log-odds 0: slope 1, offset ln 3 makes it 3/4
    assert calibration.surely(np.array([0.5, 0.3, 0.2]), 1.0, np.log(3)) == pytest.approx([0.75, 0.15, 0.1])
    assert calibration.surely(np.array([1.0, 0.0]), 0.5, 0.0) == pytest.approx([1.0, 0.0])

"""The whole benchmark on a small real data set, its report and its publication."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iqaflow import tasks
from iqaflow.benchmark import baselines, items, metrics, stage
from iqaflow.benchmark.baselines.position import true_mask
from iqaflow.core.errors import DamagedError, StageError
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.data.masks import encode_mask, iou
from iqaflow.gate.publish import publish
from iqaflow.report import page as report
from iqaflow.report import stage as drawing
from iqaflow.report.material import Material
from iqaflow.tasks.grading.items import subject
from iqaflow.tasks.vocabulary import current


@pytest.fixture(scope="module")
def workspace(calibrated, tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("bench") / "work"
    shutil.copytree(calibrated, root)
    return Workspace(root)


@pytest.fixture(scope="module")
def exam(workspace, small_config) -> stage.Exam:
    return stage.Exam.load(small_config, workspace)


def predictor(exam: stage.Exam) -> tuple[list[dict], list[dict]]:
    """A predictor that knows the truth but errs one time in four."""
    rng = np.random.default_rng(0)
    images = {row["image_id"]: row for row in exam.images}
    conversations = {row["conversation_id"]: row for row in exam.conversations}
    rows, grounded = [], []
    for item in exam.items:
        right = rng.random() < 0.75
        row = {
            "family": item["family"],
            "item_id": item["item_id"],
            "confidence": float(rng.uniform(0.5, 1)),
            "prediction": item["target"] if right else "<script>alert(1)</script>",
        }
        if item["family"] == "score":
            row["value"] = float(np.clip(item["target_value"] + rng.normal(0, 0.1), 0, 1))
        if item["family"] == "ground":
            image = images[item["image_id"]]
            mask = true_mask(conversations[item["item_id"]], image)
            mask = np.ones((image["height"], image["width"]), bool) if mask is None else mask
            moved = mask if right else np.roll(mask, mask.shape[1] // 2, 1)
            row |= {"value": iou(mask, moved), "hit": float(right)}
            grounded.append(
                {
                    "item_id": item["item_id"],
                    "image": image["image"],
                    "true_mask_rle": encode_mask(mask),
                    "pred_mask_rle": encode_mask(moved),
                    "points": [(3.0, 4.0)],
                    "negatives": [],
                    "whole": False,
                    "text": "<b>where</b>",
                }
            )
        rows.append(row)
    return rows, grounded


@pytest.fixture(scope="module")
def result(workspace, exam, small_config) -> StageResult:
    rows, grounded = predictor(exam)
    words = [{**row, "value": 0.1} for row in rows if row["family"] == "ground"]
    measured = stage.conclude(exam, {"model": rows, "argmax_words": words}, grounded, small_config, workspace)
    drawing.run(small_config, workspace)
    return measured


def outputs(workspace: Workspace) -> dict[str, bytes]:
    return {
        path.relative_to(workspace.reports).as_posix(): path.read_bytes()
        for path in sorted(workspace.reports.rglob("*"))
        if path.is_file() and path.name != "benchmark.json"
    }


def test_outputs_are_complete_and_the_same_bytes_again(workspace, exam, small_config, result):
    first = outputs(workspace)
    assert {
        "metrics.json",
        "items.parquet",
        "report.html",
        "plots/score.csv",
        "plots/confusion.csv",
        "plots/reliability.csv",
        "figures/overlays.png",
        "figures/reliability.png",
    } <= first.keys()
    rows, grounded = predictor(exam)
    words = [{**row, "value": 0.1} for row in rows if row["family"] == "ground"]
    stage.conclude(exam, {"model": rows[::-1], "argmax_words": words}, grounded, small_config, workspace)
    drawing.run(small_config, workspace)
    assert outputs(workspace) == first


def test_the_report_draws_only_what_was_measured_on_this_model(workspace, small_config, result, tmp_path):
    copy = Workspace(tmp_path / "copy")
    shutil.copytree(workspace.root, copy.root)
    altered = bytearray(copy.items.read_bytes())
    altered[len(altered) // 2] ^= 1
    copy.items.write_bytes(bytes(altered))
    with pytest.raises(DamagedError, match="iqaflow benchmark"):
        drawing.run(small_config, copy)
    copy.groundings.unlink()
    with pytest.raises(StageError, match=r"reports/groundings\.parquet is missing: run `iqaflow run`"):
        drawing.run(small_config, copy)


def test_metrics_have_the_contracts_shape(workspace, result):
    value = json.loads(workspace.metrics.read_text())
    assert set(value) == {"model", "baselines", "items"}
    assert {"argmax_words", "centre", "chance", "majority", "nss", "nss_boosted", "psnr", "ssim", "whole_image"} == set(
        value["baselines"]
    )
    for table in (value["model"], *value["baselines"].values()):
        for family, entries in table.items():
            assert family in tasks.names()
            for entry in entries.values():
                assert set(entry) == {"value", "ci95", "ci95_photos", "n"}
                if entry["ci95"]:
                    assert entry["ci95"][0] <= entry["ci95"][1]
    assert re.fullmatch("[0-9a-f]{64}", value["items"]["test_sha256"])
    assert result.metrics["score.srcc"] == value["model"]["score"]["srcc"]["value"]
    assert "| score.srcc |" in result.markdown


def test_a_model_is_asked_what_its_vocabulary_has_words_for(exam, result, workspace, small_config):
    known = replace(current(), categories=tuple(pair for pair in current().categories if pair[0] != "noise"))
    asked = exam.within(known)
    names = {row["conversation_id"]: str([row["turns"], row["targets"]["categories"]]) for row in exam.conversations}
    beyond = {name for name, text in names.items() if "noise" in text}
    assert beyond and {item["item_id"] for item in exam.items} - {item["item_id"] for item in asked.items} == beyond
    assert {row["conversation_id"] for row in asked.conversations} == names.keys() - beyond
    assert asked.left_out == len(beyond) and exam.left_out == 0 and asked.sha256() == exam.sha256()
    assert f"{len(beyond)} more name categories" in asked.summary() and "more name" not in exam.summary()
    whole = exam.within(current())
    assert (whole.items, whole.left_out) == (exam.items, 0)
    results, frame = json.loads(workspace.metrics.read_text()), items.read(workspace.items)
    results["items"]["left_out"] = asked.left_out
    assert f" {len(beyond)} questions name categories that the model was never taught" in " ".join(
        report.page(Material(results, frame, {row["image_id"]: row for row in exam.images}, [], small_config)).split()
    )


def test_every_predictor_of_a_family_answers_the_same_items(workspace, result):
    frame = items.read(workspace.items)
    for family in ("identify", "rate", "score", "ground"):
        rows = frame[frame["family"] == family]
        asked = {name: set(part["item_id"]) for name, part in rows.groupby("predictor")}
        assert len(asked) > 1
        assert all(ids == asked["model"] for ids in asked.values()), family


def test_baselines_do_what_their_names_say(workspace, exam, small_config, result):
    frame = items.read(workspace.items)

    def value(predictor: str, family: str, name: str) -> float:
        rows = frame[(frame["predictor"] == predictor) & (frame["family"] == family)]
        return metrics.compute(rows, name)

    assert value("ssim", "score", "srcc") > 0.6  # it sees the reference
    assert value("whole_image", "ground", "whole_image_on_local") == 1.0
    masks = [
        mask
        for row in exam.conversations
        if row["task"] == "ground"
        if (mask := true_mask(row, subject(row, {i["image_id"]: i for i in exam.images}))) is not None
    ]
    assert value("whole_image", "ground", "miou") == pytest.approx(np.mean([mask.mean() for mask in masks]))
    assert value("centre", "ground", "miou") > 0
    assert value("majority", "identify", "false_alarm") in (0.0, 1.0)  # it says the same of every image


def test_baselines_do_not_see_the_truth_of_the_test_split(workspace, exam, small_config):
    hidden = [{**row, "score": None, "distortions": None} for row in exam.images]
    blind = baselines.answer_all(exam.items, hidden, exam.conversations, workspace.annotated, small_config)
    seeing = baselines.answer_all(exam.items, exam.images, exam.conversations, workspace.annotated, small_config)
    assert blind == seeing
    questions = baselines.Questions(exam.items, {}, {}, workspace.annotated, small_config)
    with pytest.raises(ValueError, match="not 'test'"):
        questions.split("test")


def test_the_report_stands_alone_and_escapes_what_it_shows(workspace, result):
    page = workspace.report.read_text()
    assert "<script" not in page
    assert "&lt;b&gt;where&lt;/b&gt;" in page
    links = set(re.findall(r"""(?:href|src)=["']([^"']{1,5})""", page))
    assert links == {"data:"}
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    for heading in (
        "Model and baselines",
        "What it calls each distortion",
        "How good, and how sure",
        "Where it is",
        "Its worst mistakes",
        "How to read this",
        "What was tested",
        "What this cannot tell",
    ):
        assert heading in page
    from html.parser import HTMLParser

    class Balance(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_a_report_without_grounding_confidence_or_overlays_still_reads(workspace, exam, small_config, result):
    frame = items.read(workspace.items)
    frame = frame[~frame["family"].isin(["ground", "describe"])].assign(confidence=np.nan)
    summary = stage.summarise(frame, exam, small_config, workspace)
    images = {row["image_id"]: row for row in exam.images}
    page = report.page(Material(summary, frame, images, [], small_config))
    assert "Where it is" not in page
    assert "Its worst mistakes" in page


def test_a_model_that_skips_items_is_refused(workspace, exam, small_config):
    rows, _ = predictor(exam)
    with pytest.raises(StageError, match="unanswered"):
        stage.conclude(exam, {"model": rows[1:]}, [], small_config, workspace)


def test_an_empty_test_split_is_one_sentence(annotated, small_config, tmp_path):
    from pyarrow import parquet

    shutil.copytree(annotated / "data" / "annotated", tmp_path / "work")
    for part in (tmp_path / "work").rglob("*.parquet"):
        if "test" in parquet.read_table(part, columns=["split"])["split"].to_pylist():
            part.unlink()
    commit_directory(tmp_path / "work", Workspace(tmp_path).annotated)
    with pytest.raises(StageError, match="no test items"):
        stage.Exam.load(small_config, Workspace(tmp_path))


def test_publishing_is_idempotent(workspace, result, tmp_path):
    first = publish(workspace, champion=None, verdict={"promoted": True})
    assert set(first) == {"model", "champion", "baselines", "items", "gate", "commit", "created"}
    stamp = workspace.benchmark.read_bytes()
    assert publish(workspace, champion=None, verdict={"promoted": True}) == first
    assert workspace.benchmark.read_bytes() == stamp
    assert publish(workspace, champion=first["model"], verdict=None)["champion"] == first["model"]
    with pytest.raises(StageError, match="iqaflow benchmark"):
        publish(Workspace(Path(tmp_path)))

"""Reading answers: the closed set of a region, and calibration that sees its own split alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as parquet
import pytest

from iqaflow import distortions
from iqaflow.calibrate import stage
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import Workspace
from iqaflow.data.tables import conversations_schema, images_schema, read_rows, write_table
from iqaflow.engine.answers import calibrated_set, closed_set
from iqaflow.tasks import grammar
from iqaflow.tasks.vocabulary import FIRST


def conversation(task: str, *categories: str, style: str = "brief", kind: str = "local") -> dict:
    return {"task": task, "style": style, "targets": {"categories": list(categories), "kind": kind}}


def test_a_region_has_one_of_sixty_flaws_or_none():
    candidates = FIRST.regions
    assert len(candidates) == len(set(candidates)) == 61 and candidates[-1] == grammar.CLEAN
    for at, candidate in enumerate(candidates[:-1]):
        ((severity, category),) = grammar.parse(candidate).faults
        assert severity == distortions.SEVERITIES[at % 5] and category == grammar.phrases()[sorted(grammar.phrases())[at // 5]]


def test_severities_are_summed_by_category():
    chances = np.full(61, 0.002)
    first, none = 5 * sorted(grammar.phrases()).index("noise"), 60
    chances[first : first + 5], chances[none] = (0.1, 0.2, 0.3, 0.05, 0.05), 0.19
    summed = np.exp(FIRST.by_category(np.log(chances)))
    expected = np.full(13, 0.01)
    expected[first // 5], expected[-1] = 0.7, 0.19
    assert summed == pytest.approx(expected) and summed.sum() == pytest.approx(1)
    assert FIRST.by_category(np.log(np.stack([chances, chances[::-1]]))).shape == (2, 13)


def test_a_region_with_at_most_one_flaw_is_calibrated_as_a_closed_set():
    for categories in ((), ("noise",)):
        row = conversation("refer", *categories)
        assert calibrated_set(row, FIRST) == FIRST.regions and closed_set(row, FIRST) is None  # benchmarks read text
    assert calibrated_set(conversation("refer", "noise", "blur"), FIRST) is None
    assert calibrated_set(conversation("refer", "noise", style="detailed"), FIRST) is None
    for row in (
        conversation("identify", "noise"),
        conversation("score"),
        conversation("rate"),
        conversation("describe"),
        conversation("vqa", kind="yesno_any"),
        conversation("vqa", kind="what"),
        conversation("ground"),
    ):
        assert calibrated_set(row, FIRST) == closed_set(row, FIRST)


def test_true_answers_about_regions_are_in_the_closed_set(annotated):
    rows = [row for row in read_rows(Workspace(annotated).annotated, "conversations") if row["task"] == "refer"]
    closed = [row for row in rows if calibrated_set(row, FIRST)]
    assert closed and len(closed) < len(rows)
    inside = [row["turns"][-1]["text"] in FIRST.regions for row in closed]
    assert np.mean(inside) > 0.9, [row["turns"][-1]["text"] for row, good in zip(closed, inside, strict=True) if not good]


def test_regions_get_a_temperature_of_their_own(calibrated):
    made = json.loads(Workspace(calibrated).calibration.read_text())
    refer = made["confidence"]["refer"]
    assert refer["temperature"] > 0 and refer["n"] == made["provenance"]["items"]["refer"] > 0


@pytest.mark.slow
def test_calibration_never_looks_at_the_test_split(calibrated, small_config, tmp_path):
    """Without its test rows, and with training images that nobody could decode, it comes out the same."""
    root = tmp_path / "work"
    shutil.copytree(calibrated, root)
    workspace = Workspace(root)
    work = tmp_path / "spoilt"
    for table, schema in (("images", images_schema()), ("conversations", conversations_schema())):
        for path in sorted((workspace.annotated / table).glob("*.parquet")):
            rows = [row for row in parquet.read_table(path).to_pylist() if row["split"] != "test"]
            for row in rows:
                if table == "images" and row["split"] == "train":
                    row["image"] = b"no picture"
            write_table(work / table / path.name, rows, schema)
    commit_directory(work, workspace.annotated)
    before = json.loads(workspace.calibration.read_text())
    stage.run(small_config, workspace)
    after = json.loads(workspace.calibration.read_text())
    assert before["provenance"].pop("data_manifest_sha256") != after["provenance"].pop("data_manifest_sha256")
    assert after == before

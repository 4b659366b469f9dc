"""Stage benchmark: the calibrated model and the baselines on the frozen test split, item by item.

    iqaflow benchmark

Writes `reports/metrics.json`, `reports/items.parquet` and the manifest that binds them to the model, and
`reports/groundings.parquet` for the report; the same model, data and parameters give the same bytes. The gate publishes them
with champion, verdict, commit and date afterwards.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from iqaflow import tasks
from iqaflow.benchmark import baselines, compare, items, metrics
from iqaflow.benchmark import results as measured
from iqaflow.benchmark.items import MODEL, Answer, ItemRow
from iqaflow.benchmark.metrics import Table
from iqaflow.benchmark.results import Measured, Results
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.hashes import sha256
from iqaflow.core.manifest import MANIFEST, read_manifest
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.grounding import examples
from iqaflow.model.location import in_folder
from iqaflow.tasks.grading import items as questions
from iqaflow.tasks.grading.items import Item
from iqaflow.tasks.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pandas as pd

    from iqaflow.model.location import Location

Row = dict[str, Any]  # of the data set's tables


def run(config: Config, workspace: Workspace) -> StageResult:
    """Benchmark `models/stage1` with its calibration. Raises StageError without a model or test images, and DamagedError
    if the data set is incomplete.
    """
    workspace.needs_model()
    model = in_folder(workspace.stage1, workspace.relative(workspace.stage1))
    exam = Exam.load(config, workspace).within(model.vocabulary)
    answers, grounded = _ask(model, exam, config)
    return conclude(exam, answers, grounded, config, workspace)


def conclude(
    exam: Exam, answers: dict[str, list[Answer]], grounded: list[Row], config: Config, workspace: Workspace
) -> StageResult:
    """Everything after the model has answered: baselines, metrics, items, plots, report. `answers` by predictor must
    hold the predictor `model`, complete; `extras` are grounding overlays (see `figures.overlay`).
    """
    answers = answers | baselines.answer_all(exam.items, exam.images, exam.conversations, workspace.annotated, config)
    frame = _graded(exam, answers)
    results = summarise(frame, exam, config, workspace)
    measured.write(workspace, results, frame)
    examples.write(workspace.groundings, grounded)
    comparisons = compare.compare(results, frame, config)
    result = StageResult(
        "benchmark",
        metrics=_flat(results["model"]),
        markdown=f"## benchmark\n\n{exam.summary()}\n\n{compare.markdown(comparisons)}",
        artifacts=[workspace.relative(path) for path in (workspace.metrics, workspace.items)],
        details={
            "items": results["items"],
            "comparisons": [
                {"metric": comparison.key, "rival": comparison.rival, "verdict": comparison.verdict} for comparison in comparisons
            ],
        },
    )
    result.save(workspace)
    return result


def evaluate(model: Location, config: Config, workspace: Workspace) -> pd.DataFrame:
    """The items frame of another model (a champion) on this workspace's test split: rows of the predictor `model`, for the items
    within its vocabulary.
    """
    exam = Exam.load(config, workspace).within(model.vocabulary)
    answers, _ = _ask(model, exam, config)
    return _graded(exam, {MODEL: answers[MODEL]})


def summarise(frame: pd.DataFrame, exam: Exam, config: Config, workspace: Workspace) -> Results:
    """`metrics.json`: the table of every predictor and what it was measured on."""
    tables = {str(name): metrics.table(rows, config) for name, rows in frame.groupby("predictor", sort=False)}
    known: Measured = {
        "dataset_sha256": sha256(workspace.annotated / MANIFEST),
        "test_sha256": exam.sha256(),
        "images": len(exam.images),
        "photographs": len({row["source_id"] for row in exam.images}),
        "counts": {family: sum(item["family"] == family for item in exam.items) for family in tasks.benchmarked()},
        "score_sources": sorted({row["score_source"] for row in exam.images if row["score_source"]}),
        "bootstrap": config.benchmark.bootstrap,
    }
    if exam.left_out:
        known["left_out"] = exam.left_out
    return {MODEL: tables.pop(MODEL), "baselines": tables, "items": known}


class Exam:
    """The frozen test split: image rows, the items asked about them, and the conversations behind the items. `left_out` counts
    the items that a model's vocabulary has no words for.
    """

    def __init__(self, images: list[Row], items: list[Item], conversations: list[Row]) -> None:
        self.images, self.items, self.conversations = images, items, conversations
        self.left_out, self._sha256 = 0, ""

    @classmethod
    def load(cls, config: Config, workspace: Workspace) -> Exam:
        from iqaflow.data.tables import read_rows

        read_manifest(workspace.annotated, verify=True)
        # only synthetic rows have exact masks and one definition of the score
        stored, dialogues = (
            read_rows(workspace.annotated, table, "test", origin="synthetic") for table in ("images", "conversations")
        )
        images = questions.select(stored, config.benchmark.max_items)
        items, conversations = questions.truth(images, dialogues, config)
        if not items:
            raise StageError(f"{workspace.annotated} has no test items: raise annotate.images.test and annotate again.")
        return cls(images, items, conversations)

    def within(self, vocabulary: Vocabulary) -> Exam:
        """What a model of this vocabulary is asked. Items that name a category it was never taught measure nothing but that, so
        they are left out, for its baselines too; the test set keeps its name.
        """
        beyond = {row["conversation_id"] for row in self.conversations if not vocabulary.covers(row)}
        exam = Exam(
            self.images,
            [item for item in self.items if item["item_id"] not in beyond],
            [row for row in self.conversations if row["conversation_id"] not in beyond],
        )
        exam.left_out, exam._sha256 = len(beyond), self.sha256()
        return exam

    def sha256(self) -> str:
        """Names the test set, all of it: two benchmarks compare only if it is equal."""
        if self._sha256:
            return self._sha256
        digest = hashlib.sha256()
        for row in self.images:
            digest.update(f"{row['image_id']} {hashlib.sha256(row['image']).hexdigest()}\n".encode())
        for row in self.conversations:
            digest.update(json.dumps([row["conversation_id"], row["turns"], row["targets"]], sort_keys=True).encode())
        return digest.hexdigest()

    def summary(self) -> str:
        left_out = f" {self.left_out} more name categories the model was never taught." if self.left_out else ""
        return (
            f"{len(self.items)} items on {len(self.images)} images of "
            f"{len({row['source_id'] for row in self.images})} test photographs.{left_out}"
        )


def _ask(model: Location, exam: Exam, config: Config) -> tuple[dict[str, list[Answer]], list[Row]]:
    """The model's answers by predictor (itself, and variants that `predict` names), and grounded examples for the report."""
    from iqaflow.benchmark.predict import predict
    from iqaflow.infer.assessor import Assessor

    rows, grounded = predict(Assessor.load(model), exam.images, exam.conversations, config)
    answers: dict[str, list[Answer]] = {MODEL: []}
    for row in rows:
        answers.setdefault(row.get("predictor", MODEL), []).append(row)
    return answers, grounded


def _graded(exam: Exam, answers: dict[str, list[Answer]]) -> pd.DataFrame:
    rows: list[ItemRow] = []
    for predictor, given in answers.items():
        rows += items.grade(predictor, exam.items, given, complete=predictor == MODEL)
    return items.frame(rows)


def _flat(table: Table) -> dict[str, float]:
    """`family.metric` to value, with the interval as `.low` and `.high`."""
    flat = {}
    for family, entries in table.items():
        for name, entry in entries.items():
            flat[f"{family}.{name}"] = entry["value"]
            if entry["ci95"]:
                flat[f"{family}.{name}.low"], flat[f"{family}.{name}.high"] = entry["ci95"]
    return flat

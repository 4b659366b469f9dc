"""The gate: the new model becomes champion only if it is better, on the same items, beyond noise.

    iqaflow gate

First model: its primary metric must beat every baseline. Later ones: the primary metric's paired 95 % interval against
the champion lies above zero, and no guarded metric's lies below. A model that is not promoted is not an error: it stays
registered as `challenger`, and the verdict says why.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from iqaflow.benchmark import results as measured
from iqaflow.benchmark.metrics import Table
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.gate import compare, verdict
from iqaflow.gate.verdict import MODEL, Verdict
from iqaflow.model import integrity, location
from iqaflow.registry import package, versions
from iqaflow.serve.signature import served
from iqaflow.tasks import vocabulary
from iqaflow.track import records, spool
from iqaflow.track import run as runs

if TYPE_CHECKING:
    import pandas as pd

    from iqaflow.model.location import Location


def run(config: Config, workspace: Workspace) -> StageResult:
    """Register the model, compare it, move the aliases, write reports/benchmark.json and tell MLflow."""
    from iqaflow.gate.publish import publish

    compare.check(config)
    workspace.needs_model()
    identity = integrity.fingerprint(workspace.models)
    results, items = measured.read(workspace, identity)
    with runs.stage_run("gate", config, workspace) as child:
        _needs_store(config, workspace, child)
        _tell_parent(config, workspace, results["model"])
        decision, number, champion = _decide(config, workspace, child, identity, results, items)
        plain = {**decision.plain(), "version": number}
        publish(workspace, champion, plain)
        result = StageResult(
            "gate", decision.numbers(), decision.markdown(), details=plain, artifacts=[workspace.relative(workspace.benchmark)]
        )
        child.tags({"gate": decision.outcome, "gate.verdict": decision.sentence, "model.version": str(number)})
        child.table(_of_model(items), "items")
        child.finish(result)
    result.save(workspace)
    return result


def _decide(
    config: Config, workspace: Workspace, child: runs.StageRun, identity: str, results: measured.Results, items: pd.DataFrame
) -> tuple[Verdict, int, Table | None]:
    """The verdict, the model's version, and the champion's results on our items."""
    champion = versions.find(config, workspace, versions.CHAMPION)
    if champion and champion.tags.get(package.FINGERPRINT) == identity:
        return verdict.unchanged(champion.number), champion.number, results["model"]
    number = versions.register(config, workspace, os.environ.get(runs.PARENT) or child.run_id, served())
    if champion is None:
        decision, champions = verdict.first(config, items, number), None
    else:
        theirs, champions = _champion_items(config, workspace, champion, results)
        apart = vocabulary.of_model(workspace.stage1).apart(_place(champion).vocabulary)
        decision = verdict.against_champion(config, _of_model(items), theirs, number, champion.number, apart)
    if decision.promoted:
        versions.promote(config, workspace, number, champion.number if champion else None)
    versions.note(config, workspace, number, {"gate": decision.outcome, "gate.verdict": decision.sentence})
    return decision, number, champions


def _champion_items(
    config: Config, workspace: Workspace, champion: versions.Version, results: measured.Results
) -> tuple[pd.DataFrame, Table]:
    """The champion's answers to our items: those kept with it if the test set is the same and its tags vouch for them, else it
    answers now.
    """
    from iqaflow.benchmark import items, metrics

    kept = champion.folder / workspace.items.name
    test = results.get("items", {}).get("test_sha256")
    if champion.sealed and test and champion.tags.get("test_sha256") == test and kept.is_file():
        theirs = _of_model(items.read(kept))
    else:
        from iqaflow.benchmark.stage import evaluate

        spool.say(
            f"the champion, version {champion.number}, has no results of this very test set that its tags vouch for: it "
            "answers now."
        )
        theirs = _of_model(evaluate(_place(champion), config, workspace))
    return theirs, metrics.table(theirs, config)


def _place(champion: versions.Version) -> Location:
    return location.of_version(champion.folder, versions.CHAMPION, champion.number, champion.run_id)


def _of_model(items: pd.DataFrame) -> pd.DataFrame:
    return items[items["predictor"] == MODEL]


def _tell_parent(config: Config, workspace: Workspace, results: Table) -> None:
    """Benchmark values on the parent run too: there MLflow compares retrainings."""
    parent, now = os.environ.get(runs.PARENT), records.milliseconds()
    rows: list[records.MetricRow] = [
        (f"{family}.{name}", entry["value"], now, 0)
        for family, named in results.items()
        for name, entry in named.items()
        if entry["value"] is not None
    ]
    if parent and rows:
        records.apply(spool.connect(workspace, config), {"op": "metrics", "run": parent, "rows": rows})


def _needs_store(config: Config, workspace: Workspace, child: runs.StageRun) -> None:
    """Telemetry can wait, a promotion cannot: without the registry there is no gate."""
    try:
        spool.connect(workspace, config)
    except spool.StoreAwayError as error:
        sentence = f"The model registry does not answer ({error}): start it and run `iqaflow gate` again."
        raise StageError(sentence) from error
    if child.run_id.startswith(records.LOCAL):
        raise StageError("The model registry did not answer when the gate began: run `iqaflow gate` again.")

"""Runs: one parent per retraining, one child per stage, each true about how it ended.

    with parent_run(config, workspace) as run_id:              # exports IQAFLOW_PARENT_RUN to child processes
        with stage_run("train", config, workspace) as child:   # continues the child of an earlier try
            child.log({"loss": 0.7}, step=10)                  # costs an append; sent every two seconds
            child.finish(result)

A lost store never stops the work (spool.py). A run whose process was killed is put right by `reconcile`.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from iqaflow.core import config as configs
from iqaflow.core import hashes, open_runs, process
from iqaflow.core import lock as lease
from iqaflow.core.config import Config
from iqaflow.core.config import params_file as params
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.track import provenance, records, spool, store
from iqaflow.track.child import StageRun
from iqaflow.track.last_status import true_ending

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "IQAFLOW_PARENT_RUN"
CONTEXTS = {
    "annotate": "output",
    "validate": "validation",
    "train": "train",
    "calibrate": "calibration",
    "benchmark": "test",
}  # how each stage uses data/annotated
_current: ContextVar[StageRun | None] = ContextVar("current", default=None)


def current() -> StageRun | None:
    """The run of the stage around us, if there is one."""
    return _current.get()


@contextmanager
def parent_run(config: Config, workspace: Workspace, name: str | None = None) -> Iterator[str]:
    """The run of one retraining; yields its id and exports it. An exported one is continued."""
    name = name or time.strftime("retraining %Y-%m-%d %H:%M:%S", time.gmtime())
    run, recorder = _open(config, workspace, name, {}, None, os.environ.get(PARENT))
    before = os.environ.get(PARENT)
    os.environ[PARENT] = recorder.run
    try:
        with true_ending(recorder):
            _introduce(run, config, workspace)
            try:
                yield recorder.run
            finally:  # as the stages left it: what `reproduce` starts from
                lock = workspace.root / "dvc.lock"
                if lock.is_file():
                    run.artifact(lock)
                    run.tags({"dvc.lock": hashes.sha256(lock)})
                run.data(workspace, "retraining")
    finally:
        os.environ.pop(PARENT, None)
        if before is not None:
            os.environ[PARENT] = before


@contextmanager
def stage_run(stage: str, config: Config, workspace: Workspace) -> Iterator[StageRun]:
    """The run of a stage: a child of IQAFLOW_PARENT_RUN, the same one when the stage is tried again; alone without."""
    parent = os.environ.get(PARENT)
    run, recorder = _open(config, workspace, stage, {"stage": stage, "status": "ran"}, parent, None)
    token = _current.set(run)
    try:
        with true_ending(recorder):
            if parent is None:
                _introduce(run, config, workspace)
            if stage != "annotate" and stage in CONTEXTS:
                run.data(workspace, CONTEXTS[stage])
            yield run
            if stage == "annotate":
                run.data(workspace, CONTEXTS[stage])
    finally:
        _current.reset(token)


def cached_stage(stage: str, config: Config, workspace: Workspace) -> str | None:
    """Note a stage that had nothing to do, with the result it had; its run id. A child that did run is left alone."""
    parent = os.environ.get(PARENT)
    if parent and _child(config, workspace, stage, parent):
        return None
    result = StageResult.read(workspace, stage)
    run, recorder = _open(config, workspace, stage, {"stage": stage, "status": "cached"}, parent, None)
    with true_ending(recorder):
        if stage in CONTEXTS:
            run.data(workspace, CONTEXTS[stage])
        if result:
            run.finish(result)
    return recorder.run


def reconcile(workspace: Workspace, config: Config | None = None) -> list[str]:
    """Mark as KILLED every run of this host that says RUNNING while its process is gone; their ids. Sends the spool
    first. Does nothing while the store is away.
    """
    try:
        mlflow = spool.connect(workspace, config)
    except spool.StoreAwayError:
        return []
    spool.replay(workspace, config)
    name = store.experiment_name(workspace, config)
    experiment = mlflow.get_experiment_by_name(name)
    if experiment is None:  # somebody deleted it in this moment
        return []
    condition = f"attributes.status = 'RUNNING' and tags.{provenance.HOST} = '{socket.gethostname()}'"
    with _alone(workspace):
        running = [run.info.run_id for run in mlflow.search_runs([experiment.experiment_id], condition, max_results=1000)]
        dead = [run for run in running if _closed(mlflow, run)]
        for note in open_runs.dead(workspace):  # of any experiment
            try:
                run = records.real_id(mlflow, note.run)
            except records.PendingError:
                if spool.path(workspace, note.run).exists():
                    continue  # it comes with the spool
            else:
                dead += [run] * _closed(mlflow, run)
            open_runs.forget(note.file)
    return dead


def _closed(mlflow: MlflowClient, run: str) -> bool:
    """Whether a run said RUNNING though its process was gone, and was marked as KILLED."""
    from mlflow.exceptions import MlflowException

    try:
        now = mlflow.get_run(run)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # somebody deleted it
            return False
        raise
    if now.info.status != "RUNNING" or process.alive(now.data.tags.get(provenance.PROCESS, "")):
        return False
    mlflow.set_tag(run, "reconciled", f"process {now.data.tags.get('pid')} was gone")
    mlflow.set_terminated(run, "KILLED")
    return True


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    """A dead run is not closed while a new try is continuing it."""
    return lease.hold(workspace.state / "locks" / "runs.lock", "change of MLflow runs", wait_seconds=60)


def _open(
    config: Config, workspace: Workspace, name: str, tags: dict[str, str], parent: str | None, known: str | None
) -> tuple[StageRun, spool.Recorder]:
    """Continue the run `known`, or the child of `parent` of that name, or begin one; in the spool if need be."""
    floor: dict[str, int] = {}
    run = known or f"{records.LOCAL}{uuid.uuid4().hex}"
    experiment = config.track.experiment
    begin: records.Record = {
        "run": run,
        "op": "create",
        "experiment": experiment,
        "name": name,
        "parent": parent,
        "tags": {**tags, **provenance.owner()},
        "time": records.milliseconds(),
    }
    note = open_runs.note(workspace, run)
    try:
        mlflow = spool.connect(workspace, config)
        reconcile(workspace, config)
        with _alone(workspace):
            earlier = known or (parent and _child(config, workspace, name, parent, mlflow))
            if earlier:
                run = records.real_id(mlflow, earlier)
                floor = _floor(mlflow, run)
                for key, value in begin["tags"].items():
                    mlflow.set_tag(run, key, value)
                mlflow.update_run(run, status="RUNNING")
                note = open_runs.note(workspace, run, instead_of=note)
            else:
                records.apply(mlflow, begin)
                run = records.real_id(mlflow, run)
    except Exception as error:  # whatever ails the store, the work goes on
        spool.say(
            f"MLflow does not answer ({' '.join(str(error).split())[:200]}); run {name!r} is kept in "
            f"{spool.folder(workspace)} and sent later."
        )
        if run == begin["run"] != known:
            spool.spool(workspace, [begin])
    recorder = spool.Recorder(workspace, config, run, note)
    return StageRun(name, recorder, floor), recorder


def _child(config: Config, workspace: Workspace, stage: str, parent: str, mlflow: MlflowClient | None = None) -> str | None:
    """The id of the run of `stage` under `parent`; None if there is none, or another living process is writing it."""
    try:
        mlflow = mlflow or spool.connect(workspace, config)
        experiment = mlflow.get_experiment_by_name(config.track.experiment)
        if experiment is None:
            return None
        children = records.find(
            mlflow, [experiment.experiment_id], stage=stage, **{records.PARENT_TAG: records.real_id(mlflow, parent)}
        )
    except (spool.StoreAwayError, records.PendingError):
        return None
    for run in children:
        writer = run.data.tags.get(provenance.PROCESS, "")
        if run.info.status != "RUNNING" or writer == process.identity() or not process.alive(writer):
            known: str = run.info.run_id
            return known
    return None


def _floor(mlflow: MlflowClient, run: str) -> dict[str, int]:
    """The last step of each metric that is already told."""
    return {
        name: max(metric.step for metric in mlflow.get_metric_history(run, name)) for name in mlflow.get_run(run).data.metrics
    }


def _introduce(run: StageRun, config: Config, workspace: Workspace) -> None:
    """Parameters and provenance of a run that stands for a retraining."""
    run.params({name: _text(value) for name, value in configs.flatten(config.tree()).items()})
    run.tags(provenance.tags(config, workspace))
    run.text(params.as_yaml(config, docs=False), "params.yaml")
    changed = provenance.changes(workspace)
    if changed:
        run.text(changed, "uncommitted.diff", "provenance")


def _text(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


__all__ = ["PARENT", "StageRun", "cached_stage", "current", "parent_run", "reconcile", "stage_run"]

"""The kinds of record a run is made of, and how each is applied to MLflow. Applying one twice is harmless.

| op | fields |
|---|---|
| create | experiment, name, tags, parent, time |
| metrics | rows: [[key, value, milliseconds, step], ...] |
| params, tags | values: {key: text} |
| artifact, image, table | file, owned (delete after), folder; key, step, time |
| input | name, digest, source, context |
| end | status, time |
"""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Required, TypedDict

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOCAL = "local-"  # ids of runs that began while the store was away
LOCAL_TAG, PARENT_TAG = "iqaflow.local_id", "mlflow.parentRunId"
MAX_ROWS, MAX_VALUES, MAX_PARAM, MAX_TAG, MAX_DIGEST = 1000, 100, 6000, 8000, 36  # MLflow's limits
FINAL = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST", "INVALID_STATE", "PERMISSION_DENIED"}
MetricRow = tuple[str, float, int, int]  # name, value, milliseconds, step; a list when read back from the spool
Op = Literal["create", "metrics", "params", "tags", "artifact", "image", "table", "input", "end"]


class Record(TypedDict, total=False):
    """One thing that is said about a run; which fields it has besides `op` and `run` says the table at the top."""

    op: Required[Op]
    run: str  # set by whoever knows it, at the latest by the recorder
    experiment: str
    parent: str | None
    name: str
    tags: dict[str, str]
    time: int  # milliseconds
    rows: list[MetricRow]
    values: dict[str, str]
    file: str
    owned: bool
    folder: str
    key: str
    step: int
    digest: str
    source: str
    context: str
    status: str
    reason: str  # of a rejected record


class RejectedError(ValueError):
    """MLflow will never take this record; the message is its reason."""


class PendingError(RuntimeError):
    """The run, or its parent, is not in the store yet."""


def milliseconds() -> int:
    return int(time.time() * 1000)


def key(text: str) -> str:
    """`text` as a name MLflow takes for metrics, parameters and images."""
    return re.sub(r"[^\w\-./ ]", "_", text, flags=re.ASCII)[:250]


def merge(taken: list[Record]) -> list[Record]:
    """Neighbouring metrics of one run as one record: one transaction instead of hundreds."""
    merged: list[Record] = []
    for record in taken:
        last = merged[-1] if merged else None
        if last and record["op"] == last["op"] == "metrics" and record["run"] == last["run"]:
            merged[-1] = {**last, "rows": last["rows"] + record["rows"]}
        else:
            merged.append(record)
    return merged


def apply(mlflow: MlflowClient, record: Record) -> None:
    """Bring one record to the store. RejectedError: never again; any other exception: perhaps later."""
    from mlflow.exceptions import MlflowException

    if "file" in record and not Path(record["file"]).exists():
        if record.get("owned"):
            return  # it was sent, and deleted, before a kill
        raise RejectedError(f"its file {record['file']} is gone")
    try:
        _OPS[record["op"]](mlflow, record)
    except MlflowException as error:
        if error.error_code in FINAL:
            raise RejectedError(" ".join(str(error).split())[:300]) from error
        raise
    except (KeyError, TypeError, ValueError) as error:  # our own mistake: it would fail for ever
        raise RejectedError(f"{type(error).__name__}: {error}") from error
    if record.get("owned"):
        _forget(Path(record["file"]))


def real_id(mlflow: MlflowClient, run: str) -> str:
    """The id of a run in the store; PendingError if a local run is not there yet."""
    if not run.startswith(LOCAL):
        return run
    matches = find(mlflow, [each.experiment_id for each in mlflow.search_experiments()], **{LOCAL_TAG: run})
    if not matches:
        raise PendingError(f"run {run} is not in the store yet")
    known: str = matches[0].info.run_id
    return known


def find(mlflow: MlflowClient, experiments: list[str], **tags: str) -> list[Run]:
    """Runs with all these tags, newest first."""
    condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    return list(mlflow.search_runs(experiments, condition, max_results=50, order_by=["attributes.start_time DESC"]))


def _create(mlflow: MlflowClient, record: Record) -> None:
    experiment = mlflow.get_experiment_by_name(record["experiment"])
    if experiment is None:
        raise PendingError(f"experiment {record['experiment']} is not in the store yet")
    if find(mlflow, [experiment.experiment_id], **{LOCAL_TAG: record["run"]}):
        return
    tags = {**record["tags"], LOCAL_TAG: record["run"]}
    if record["parent"]:
        tags[PARENT_TAG] = real_id(mlflow, record["parent"])
    mlflow.create_run(experiment.experiment_id, start_time=record["time"], tags=tags, run_name=record["name"])


def _metrics(mlflow: MlflowClient, record: Record) -> None:
    from mlflow.entities import Metric

    run, rows = real_id(mlflow, record["run"]), record["rows"]
    for start in range(0, len(rows), MAX_ROWS):
        batch = [Metric(name, value, at, step) for name, value, at, step in rows[start : start + MAX_ROWS]]
        mlflow.log_batch(run, metrics=batch)


def _params(mlflow: MlflowClient, record: Record) -> None:
    from mlflow.entities import Param

    for part in _parts(record["values"]):
        params = [Param(key(name), value[:MAX_PARAM]) for name, value in part]
        mlflow.log_batch(real_id(mlflow, record["run"]), params=params)


def _tags(mlflow: MlflowClient, record: Record) -> None:
    from mlflow.entities import RunTag

    for part in _parts(record["values"]):
        tags = [RunTag(name, value[:MAX_TAG]) for name, value in part]
        mlflow.log_batch(real_id(mlflow, record["run"]), tags=tags)


def _artifact(mlflow: MlflowClient, record: Record) -> None:
    run, file, folder = real_id(mlflow, record["run"]), Path(record["file"]), record.get("folder") or ""
    if file.is_dir():
        mlflow.log_artifacts(run, str(file), f"{folder}/{file.name}".lstrip("/"))
    else:
        mlflow.log_artifact(run, str(file), folder or None)


def _image(mlflow: MlflowClient, record: Record) -> None:
    from PIL import Image

    with Image.open(record["file"], formats=("PNG",)) as image:
        image.load()
        mlflow.log_image(
            real_id(mlflow, record["run"]),
            image,
            key=record["key"],
            step=record["step"],
            timestamp=record["time"],
            synchronous=True,
        )


def _table(mlflow: MlflowClient, record: Record) -> None:
    """As `log_table`, but a second table of the same name replaces the first instead of growing it."""
    run = real_id(mlflow, record["run"])
    _artifact(mlflow, record)
    known = json.loads(mlflow.get_run(run).data.tags.get("mlflow.loggedArtifacts", "[]"))
    entry = {"path": Path(record["file"]).name, "type": "table"}
    if entry not in known:
        mlflow.set_tag(run, "mlflow.loggedArtifacts", json.dumps([*known, entry]))


def _input(mlflow: MlflowClient, record: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=record["name"],
        digest=record["digest"][:MAX_DIGEST],
        source_type="local",
        source=json.dumps({"uri": record["source"]}),
    )
    tag = InputTag("mlflow.data.context", record["context"])
    mlflow.log_inputs(real_id(mlflow, record["run"]), datasets=[DatasetInput(dataset, [tag])])


def _end(mlflow: MlflowClient, record: Record) -> None:
    mlflow.set_terminated(real_id(mlflow, record["run"]), record["status"], record["time"])


def _parts(values: dict[str, str]) -> list[list[tuple[str, str]]]:
    pairs = [(name, str(value)) for name, value in values.items()]
    return [pairs[start : start + MAX_VALUES] for start in range(0, len(pairs), MAX_VALUES)]


def _forget(file: Path) -> None:
    """Delete a file that was kept only for the store, and the folders that only held it."""
    shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    for folder in list(file.parents)[:2]:
        try:
            folder.rmdir()
        except OSError:  # others still wait in it
            return


_OPS = {
    "create": _create,
    "metrics": _metrics,
    "params": _params,
    "tags": _tags,
    "artifact": _artifact,
    "image": _image,
    "table": _table,
    "input": _input,
    "end": _end,
}

"""One stage under Prefect: `dvc repro --single-item` as a retried task, its log streamed, its report published."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_image_artifact, create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from iqaflow.core.config import load
from iqaflow.core.errors import FAILED, PipelineError, StageError
from iqaflow.core.log import set_up
from iqaflow.core.security.redaction import Lines, guard_logging, redact
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.orchestrate import dvc, results

guard_logging()  # Prefect keeps what is logged, also in a worker's process
set_up()


def run_stage(stage: str, root: str, force: bool = False) -> str:
    """Bring one stage up to date and publish what it found; returns `done in 12 s` or `up to date`."""
    workspace, started = Workspace(Path(root).resolve()), time.monotonic()
    schedule = load(workspace.params).schedule
    attempt = reproduce.with_options(
        name=f"dvc repro {stage}",
        retries=schedule.retries,
        retry_delay_seconds=exponential_backoff(schedule.retry_seconds),
        retry_condition_fn=may_work_next_time,
    )
    ran = attempt(stage, root, force)
    if (result := results.of(workspace, stage, ran)) is not None:
        publish(result, workspace)
    return f"done in {time.monotonic() - started:.0f} s" if ran else "up to date"


@task(cache_policy=NO_CACHE, task_run_name="dvc repro {stage}")
def reproduce(stage: str, root: str, force: bool) -> bool:
    """Run the stage if it is out of date. A failure is the stage's own sentence."""
    workspace, logger, shown = Workspace(Path(root).resolve()), get_run_logger(), Lines()

    def line(text: str) -> None:
        if (text := shown(text)).strip():
            logger.info(text)
            print(f"  {stage:<9} | {text}", flush=True)

    results.clear_failure(workspace, stage)
    os.environ["IQAFLOW_FLOW_RUN"] = str(flow_run.id)  # the stage's MLflow run points back to this one
    try:
        return dvc.reproduce(workspace, ("sources", stage) if stage == "annotate" else (stage,), line, force)
    except PipelineError as error:
        failure = results.read_failure(workspace, stage) or results.Failure(redact(str(error)), FAILED)
        raise (StageError if failure.permanent else PipelineError)(f"{stage}: {failure.sentence}") from None


def may_work_next_time(task: Any, run: Any, state: Any) -> bool:
    """Retry a crash, a lost process, a busy lock; not a failed gate or bad parameters, which would fail again."""
    return not isinstance(state.result(raise_on_failure=False), StageError)


def publish(result: StageResult, workspace: Workspace) -> None:
    """The stage's report, numbers, first picture and pages as Prefect artifacts; keys are stable, so versions form a history."""
    if result.markdown:
        create_markdown_artifact(redact(result.markdown), key=f"{result.stage}-report", description=f"What {result.stage} found")
    if result.metrics:
        rows = [{"metric": name, "value": round(value, 6)} for name, value in result.metrics.items()]
        create_table_artifact(rows, key=f"{result.stage}-metrics", description=f"Numbers of {result.stage}")
    for name in result.images[:1]:
        if picture := results.as_data_url(workspace.root / name):
            create_image_artifact(picture, key=f"{result.stage}-picture", description=name)
    for name, page in results.pages(workspace, result):
        key = re.sub(r"[^a-z0-9]+", "-", f"{result.stage} {Path(name).stem}".lower())
        create_link_artifact(page.as_uri(), link_text=name, key=key, description=f"{name}, also kept with the MLflow run")

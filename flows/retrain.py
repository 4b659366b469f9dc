"""The whole retraining: the stages as subflows, then the gate, under one MLflow parent run.

iqaflow run            # holds the checkout's lease, starts Prefect if need be, then calls this
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE

from flows.run_stage import publish
from flows.stages import STAGES
from iqaflow import track
from iqaflow.core.config import load
from iqaflow.core.errors import redacted
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate import stages
from iqaflow.orchestrate.services import lifecycle
from iqaflow.orchestrate.zombies import claimed, close_dead_runs


@flow(name="retrain", flow_run_name="retrain")
def retrain(root: str = ".", force: bool = False) -> dict[str, str]:
    """Bring every stage up to date and let the gate judge the result; returns what happened, by stage."""
    workspace, summary = Workspace(Path(root).resolve()), {}
    with redacted():
        config = load(workspace.params)
        close_dead_runs()
    with redacted(), claimed(), track.parent_run(config, workspace) as run:
        create_link_artifact(lifecycle.run_page(workspace, run), link_text="MLflow run", key="mlflow-run")
        for stage in STAGES:
            summary[stage.name] = stage(root=str(workspace.root), force=force)
            if summary[stage.name] == "up to date":
                track.cached_stage(stage.name, config, workspace)
        summary["gate"] = gate(str(workspace.root))
    return summary


@task(cache_policy=NO_CACHE, task_run_name="gate")
def gate(root: str) -> str:
    """Register the model; promote it if it is better. Not a DVC stage: it reads and writes the registry."""
    workspace = Workspace(Path(root))
    with redacted():
        result = stages.run("gate", load(workspace.params), workspace)
        assert result is not None  # the stage `sources` alone has none
        publish(result, workspace)
    return "promoted to champion" if result.details.get("promoted") else "not promoted"

"""The scheduled retraining: a deployment on a process work pool, one at a time, in a worktree of its own.

iqaflow up        # creates the pool, starts a worker, registers this
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron

from flows.parameters import refuse_secrets
from flows.retrain import retrain
from iqaflow.core.config import Config
from iqaflow.core.errors import redacted
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate import run as pipeline
from iqaflow.orchestrate import worktree
from iqaflow.orchestrate.zombies import claimed


@flow(name="scheduled-retrain", flow_run_name="scheduled-retrain", log_prints=True)
def scheduled_retrain(
    preset: str | None = None, overrides: list[str] | None = None, force: bool = False, root: str | None = None
) -> dict[str, str]:
    """Retrain at the last commit of the checkout `root`, away from people's files; the result is a branch `retrain/...`."""
    refuse_secrets(overrides)
    home = Workspace(Path(root)) if root else Workspace.here()
    with (
        redacted(),
        claimed(),
        worktree.fresh(home, print) as (place, moved),
        pipeline.session(place, preset, (*moved, *(overrides or ())), force) as todo,
    ):
        if not todo:
            return {"everything": "up to date"}
        return retrain(root=str(place.root), force=force)


def create_pool(config: Config) -> None:
    """Make the process work pool if it is not there."""
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=config.schedule.work_pool, type="process"))


def register(config: Config, workspace: Workspace) -> None:
    """Register the deployment, or bring it up to date; a run that is due while another works waits its turn."""
    home = Path(__file__).parents[1]  # the checkout, or where the package is installed
    source = flow.from_source(source=str(home), entrypoint="flows/deployments.py:scheduled_retrain")
    assert isinstance(source, Flow)  # not a coroutine: nobody awaits here
    deployment = source.to_deployment(
        name="iqaflow",
        work_pool_name=config.schedule.work_pool,
        schedules=[Cron(config.schedule.cron, timezone=config.schedule.timezone)],
        tags=["iqaflow"],
        parameters={"root": str(workspace.root)},
        description="Retrains on schedule, in a worktree of its own; promotes only what is better.",
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    )
    assert isinstance(deployment, RunnerDeployment)
    deployment.apply()


def wait_for_worker(config: Config, seconds: float) -> bool:
    """Whether a worker of the pool reports within `seconds`."""
    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            if any(worker.status == "ONLINE" for worker in client.read_workers_for_work_pool(config.schedule.work_pool)):
                return True
            time.sleep(0.5)
    return False

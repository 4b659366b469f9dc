"""Which runs are alive: each carries its process as a tag, so that a run whose process was killed does not run for ever."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.states import Crashed

from iqaflow.core import process

RUNNING = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}})


def current() -> FlowRun:
    """The flow run around us. Raises RuntimeError outside of any."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("There is no flow run around this call.")
    return context.flow_run


@contextmanager
def claimed() -> Iterator[None]:
    """Tag the flow run around us, and those started inside the block, with this process."""
    mine = f"process:{socket.gethostname()}:{process.identity()}"
    run = current()
    with get_client(sync_client=True) as client:
        client.update_flow_run(run.id, tags={*run.tags, mine})
    with tags(mine):
        yield


def close_dead_runs() -> int:
    """Mark runs of this host as Crashed when their process is gone (kill -9, power loss); how many there were."""
    prefix, count = f"process:{socket.gethostname()}:", 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=RUNNING):
            owners = [tag.removeprefix(prefix) for tag in run.tags if tag.startswith(prefix)]
            if owners and not any(process.alive(who) for who in owners):
                client.set_flow_run_state(run.id, Crashed(message="Its process is gone; it was killed."), force=True)
                count += 1
    return count

"""What a person hands to a scheduled flow is stored by Prefect before any code of ours runs; a secret is taken out again."""

from __future__ import annotations

from prefect.client.orchestration import get_client

from iqaflow.core.config import refusal
from iqaflow.core.errors import ConfigError
from iqaflow.core.security.redaction import redact_all
from iqaflow.orchestrate import zombies


def refuse_secrets(overrides: list[str] | None) -> None:
    """The first thing of a flow that takes overrides: where one carries a secret, blot it out of the stored parameters and
    fail with the sentence that says where it belongs. Raises ConfigError.
    """
    for text in overrides or ():
        key, _, value = text.partition("=")
        if refused := refusal.parameter({key: value}):
            run = zombies.current()
            kept = {**run.parameters, "overrides": [each.partition("=")[0] + "=***" for each in overrides or ()]}
            with get_client(sync_client=True) as client:
                client.update_flow_run(run.id, parameters=redact_all(kept))
            raise ConfigError(f"Bad overrides: {refused}. It was stored until now: use another one from now on.")

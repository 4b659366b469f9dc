"""The process of a server: Prefect's or MLflow's own web application behind the doorkeeper, on a socket it is handed.

    python -m iqaflow.orchestrate.services.webserver prefect 5   # 5: a listening socket that servers.py opened
    python -m iqaflow.orchestrate.services.webserver mlflow 5 sqlite:///mlruns/mlflow.db mlruns/artifacts

`prefect server start` and `mlflow server` have no place for a doorkeeper. What they set is in the environment or here.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Callable
from typing import Any

from iqaflow.core.security.doorkeeper import Doorkeeper

SECRET = "IQAFLOW_SERVER_SECRET"  # noqa: S105 (the variable's name; MLflow alone: Prefect asks for its own)


def prefect() -> tuple[Any, dict[str, Any]]:
    """What `prefect server start` serves, and how; its settings come from the environment (orchestrate/services/servers.py)."""
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    settings = get_current_settings().server
    return create_app(final=True), {
        "timeout_keep_alive": settings.api.keepalive_timeout,
        "log_level": settings.logging_level.lower(),
        "ws_ping_interval": settings.api.websocket_ping_interval,
        "ws_ping_timeout": settings.api.websocket_ping_timeout,
    }


def mlflow(store: str, artifacts: str) -> tuple[Any, dict[str, Any]]:
    """What `mlflow server` serves: runs of `store`, artifacts of runs without a folder of their own below `artifacts`."""
    from mlflow import environment_variables as variables
    from mlflow.server import constants, handlers

    root = "mlflow-artifacts:/"
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: store,
        constants.REGISTRY_STORE_URI_ENV_VAR: store,
        constants.ARTIFACT_ROOT_ENV_VAR: root,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: artifacts,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        variables._MLFLOW_SGI_NAME.name: "uvicorn",
        # these two tell MLflow that it is a server, which never runs code that its store holds
        variables._MLFLOW_SERVER_BOOT_ID.name: uuid.uuid4().hex,
        variables._MLFLOW_IN_JOB_EXECUTOR.name: "false",
    }
    handlers.initialize_backend_stores(store, store, root)
    from mlflow.server.fastapi_app import app

    return app, {"log_level": "info"}


SERVERS: dict[str, Callable[..., tuple[Any, dict[str, Any]]]] = {"prefect": prefect, "mlflow": mlflow}


def main(name: str, handle: int, *arguments: str) -> None:
    """Serve until SIGTERM. The secret leaves the environment before any other code runs."""
    import uvicorn

    secret = os.environ.pop(SECRET, None)
    app, options = SERVERS[name](*arguments)
    with socket.socket(fileno=handle) as listening:
        uvicorn.Server(uvicorn.Config(Doorkeeper(app, secret), **options)).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])

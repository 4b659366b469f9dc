"""What runs beside the pipeline, and whether it works."""

from __future__ import annotations

import typer

from iqaflow.cli.options import Json, Preset, Sets, context, flows, settle

app = typer.Typer()


@app.command(rich_help_panel="Services")
def up(preset: Preset = None, set_: Sets = None) -> None:
    """Start Prefect, MLflow and a worker on this machine's loopback; register the scheduled retraining."""
    from iqaflow.orchestrate.services import lifecycle

    settle()
    config, workspace = context(preset, set_)
    lifecycle.up(config, workspace, lambda: flows(workspace, "deployments"))


@app.command(rich_help_panel="Services")
def down() -> None:
    """Stop what `iqaflow up` started, and nothing else."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate.services import lifecycle

    lifecycle.down(Workspace.here())


@app.command(rich_help_panel="Services")
def doctor(json: Json = False) -> None:
    """Start every component for real and say in one table what works."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate.doctor import report as module

    settle()
    raise typer.Exit(module.run(Workspace.here(), json))

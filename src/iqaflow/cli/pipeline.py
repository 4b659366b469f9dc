"""The pipeline as a whole: run it, plan it, undo it, make the base; and its parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iqaflow.cli.options import Commands, Json, Preset, Sets, context, flows, settle

if TYPE_CHECKING:
    from iqaflow.core.workspace import Workspace

app = typer.Typer()
config_app = typer.Typer(cls=Commands, help="Show, compare and write the parameters.", no_args_is_help=True)
app.add_typer(config_app, name="config", rich_help_panel="Pipeline")


@app.command(rich_help_panel="Pipeline")
def init(folder: Annotated[Path, typer.Argument(help="Made if it is not there.")] = Path()) -> None:
    """Make a folder a workspace: parameters, stages, the small base; git and DVC if it has none. What is there stays."""
    from iqaflow.orchestrate import init as module

    module.run(folder.resolve(), typer.echo)


@app.command(rich_help_panel="Pipeline")
def run(
    preset: Preset = None,
    set_: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="Run every stage, up to date or not.")] = False,
) -> None:
    """The whole pipeline: whatever is out of date, then the gate."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate import run as pipeline

    workspace = Workspace.here()
    raise typer.Exit(pipeline.run(workspace, _retraining(workspace), preset, tuple(set_ or ()), force))


def _retraining(workspace: Workspace) -> Callable[..., dict[str, str]]:
    """The Prefect flow of this checkout, imported when it is called: Prefect finds its server first."""

    def retrain(**options: Any) -> dict[str, str]:
        summary: dict[str, str] = flows(workspace, "retrain").retrain(**options)
        return summary

    return retrain


@app.command(rich_help_panel="Pipeline")
def plan(
    json: Json = False,
    trial: Annotated[bool, typer.Option("--trial", help="Time a few steps if none were.")] = False,
    preset: Preset = None,
    set_: Sets = None,
) -> None:
    """What training will take: parameters, memory, tokens, steps, time."""
    from iqaflow.train.sizing import plan as module

    raise typer.Exit(module.run(*context(preset, set_), as_json=json, trial=trial))


@app.command(rich_help_panel="Pipeline")
def base(preset: Preset = "base", set_: Sets = None) -> None:
    """Make the small base that ships (models/base-tiny) anew from a folder of photographs; hours of CPU."""
    from iqaflow.orchestrate import base_release as release

    result = release.run(*context(preset, set_))
    typer.echo(result.markdown)


@app.command(rich_help_panel="Pipeline")
def rollback(preset: Preset = None, set_: Sets = None) -> None:
    """Make the champion before the present one champion again."""
    from iqaflow.registry import versions

    settle()
    number = versions.rollback(*context(preset, set_))
    typer.echo(f"Version {number} is champion again; `iqaflow rollback` once more undoes this.")


@app.command("list", rich_help_panel="Pipeline")
def list_(kind: Annotated[str | None, typer.Argument(help="What to list; without it the kinds.")] = None) -> None:
    """What grows by one file: distortions, tasks, metrics, ...; those in the folders of IQAFLOW_PLUGINS, too."""
    from iqaflow.core.errors import InputError
    from iqaflow.core.plugins import KINDS

    if kind is not None and kind not in KINDS:
        raise InputError(f"There is no kind {kind!r}; choose one of {', '.join(KINDS)}.")
    entries = [(name, listed.says) for name, listed in KINDS.items()] if kind is None else KINDS[kind].entries()
    width = max(len(name) for name, _ in entries)
    for name, says in entries:
        typer.echo(f"{name:<{width}}  {says}")


@config_app.command("show")
def config_show(preset: Preset = None, set_: Sets = None, json: Json = False) -> None:
    """The resolved parameters."""
    from iqaflow.core.config import params_file as params

    config, _ = context(preset, set_, needed=False)
    typer.echo(params.as_json(config) if json else params.as_yaml(config, docs=False), nl=False)


@config_app.command("diff")
def config_diff(preset: Preset = None, set_: Sets = None) -> None:
    """What differs from the defaults: key, default, value."""
    from iqaflow.core import config as module

    config, _ = context(preset, set_, needed=False)
    for key, (old, new) in module.diff(module.Config(), config).items():
        typer.echo(f"{key}: {old} -> {new}")


@config_app.command("write")
def config_write(
    preset: Preset = None,
    set_: Sets = None,
    defaults: Annotated[bool, typer.Option(help="Start from the defaults, not from the file.")] = False,
) -> None:
    """Write params.yaml: every parameter with its documentation."""
    from iqaflow.core import config as module
    from iqaflow.core.config import params_file as params
    from iqaflow.core.workspace import Workspace

    workspace = Workspace.here()
    path = workspace.params if workspace.params.is_file() and not defaults else None
    params.write(workspace.params, module.load(path, preset, tuple(set_ or ())))
    typer.echo(f"Wrote {workspace.params}")

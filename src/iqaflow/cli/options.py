"""What the commands share: options, the resolved parameters, one stage.

`--verbose`, `--quiet` and `--log` belong to `iqaflow` and are taken after a verb, too: `iqaflow --quiet train`, `iqaflow train
--quiet`. What they choose is in core/log.py.
"""

from __future__ import annotations

import copy
import importlib
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from iqaflow.core.config import Config
    from iqaflow.core.workspace import Workspace

Preset = Annotated[str | None, typer.Option("--preset", help="Overlay on params.yaml: tiny, quick, qwen3-vl-4b, ...")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one parameter; repeatable.")]
Model = Annotated[str, typer.Option("--model", help="Folder, models:/name@alias, or champion.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
log = logging.getLogger(__name__)


def _apply(parameter: typer.CallbackParam, value: Any) -> Any:
    """Follow one of the options for what is told; called at once, wherever on the line it stands."""
    from iqaflow.core.log import choose

    if value:
        choose(**{"verbose": {"level": "debug"}, "quiet": {"level": "warning"}}.get(str(parameter.name), {"form": value}))
    return value


def log_options(
    verbose: Annotated[
        bool, typer.Option("--verbose", callback=_apply, expose_value=False, help="Tell every step, with time and level.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", callback=_apply, expose_value=False, help="Tell only warnings and errors.")
    ] = False,
    form: Annotated[
        Literal["text", "json"] | None,
        typer.Option("--log", callback=_apply, expose_value=False, help="Form of what is told on stderr."),
    ] = None,
) -> None:
    """The options of `iqaflow` itself. Results go to stdout whatever is chosen."""


class Commands(TyperGroup):
    """Commands that take the options of `log_options` after their name, too; only the help of `iqaflow` lists them."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command: Any = super().get_command(ctx, cmd_name)
        if command is None:
            return None
        present = {parameter.name for parameter in command.params}
        for parameter in ctx.find_root().command.params:
            if parameter.name in ("verbose", "quiet", "form") and parameter.name not in present:
                later = copy.copy(parameter)
                later.hidden = True
                command.params.append(later)
        return command


def context(preset: str | None = None, sets: list[str] | None = None, needed: bool = True) -> tuple[Config, Workspace]:
    """The resolved config and the checkout; outside a checkout the defaults do, unless `needed`."""
    from iqaflow.core import config
    from iqaflow.core.workspace import Workspace

    workspace = Workspace.here()
    if needed:
        workspace.refuse_odd_names()
    path = workspace.params if needed or workspace.params.is_file() else None
    log.debug("parameters: %s%s", path or "the defaults", "".join(f", {text}" for text in (preset, *(sets or ())) if text))
    return config.load(path, preset, tuple(sets or ())), workspace


def run_stage(stage: str, preset: str | None, sets: list[str] | None) -> None:
    from iqaflow.orchestrate import stages
    from iqaflow.orchestrate.services import reaper

    config, workspace = context(preset, sets)
    reaper.settle(workspace)
    stages.run(stage, config, workspace)


def settle(model: str | None = None) -> None:
    """What earlier runs left is made true before the store is opened; a `model` in a folder does not open it."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate.services import reaper

    if model is None or not Path(model).is_dir():
        reaper.settle(Workspace.here())


def numbers(option: str, text: str | None, count: int) -> tuple[float, ...] | None:
    if text is None:
        return None
    from iqaflow.core.errors import InputError

    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise InputError(f"{option} {text!r} must be {count} numbers separated by commas (pixels).")
    return values


def flows(workspace: Workspace, name: str) -> ModuleType:
    """A module of the checkout's `flows/`, else of those that came with the package. The library never imports them: they are
    handed to it.
    """
    from iqaflow.core.workspace import shipped

    home = workspace.root if (workspace.root / "flows" / "retrain.py").is_file() else shipped()
    if str(home) not in sys.path:
        sys.path.insert(0, str(home))
    return importlib.import_module(f"flows.{name}")

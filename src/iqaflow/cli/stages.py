"""One command per stage, in the order of the pipeline; `dvc repro` calls these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iqaflow.cli.options import Preset, Sets, run_stage

app = typer.Typer()


@app.command(rich_help_panel="Stages")
def sources(preset: Preset = None, set_: Sets = None) -> None:
    """List the photographs, by content, in data/source.json."""
    run_stage("sources", preset, set_)


@app.command(rich_help_panel="Stages")
def annotate(preset: Preset = None, set_: Sets = None) -> None:
    """Photographs -> distorted images with masks, questions and answers (data/annotated)."""
    run_stage("annotate", preset, set_)


@app.command(rich_help_panel="Stages")
def validate(preset: Preset = None, set_: Sets = None) -> None:
    """Great Expectations and a pixel pass over data/annotated; exit 3 names the offending rows."""
    run_stage("validate", preset, set_)


@app.command(rich_help_panel="Stages")
def export(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    format_: Annotated[
        str, typer.Option("--format", help="datasets (Hugging Face), chat (LLaMA-Factory, ms-swift) or both.")
    ] = "both",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """data/annotated for other tools, with a dataset card."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate import export as module

    counts = module.run(Workspace.here(), out, format_, force)
    typer.echo(f"Wrote {counts['images']} images and {counts['conversations']} questions to {out}")


@app.command(rich_help_panel="Stages")
def train(preset: Preset = None, set_: Sets = None) -> None:
    """Fine-tune the vision-language model with DeepSpeed (models/stage1); continues after a kill."""
    run_stage("train", preset, set_)


@app.command(rich_help_panel="Stages")
def calibrate(preset: Preset = None, set_: Sets = None) -> None:
    """Training-free pixel grounding and confidences (models/calibration.json)."""
    run_stage("calibrate", preset, set_)


@app.command(rich_help_panel="Stages")
def benchmark(preset: Preset = None, set_: Sets = None) -> None:
    """The model beside its baselines on the frozen test split (reports/)."""
    run_stage("benchmark", preset, set_)


@app.command(rich_help_panel="Stages")
def report(
    preset: Preset = None,
    set_: Sets = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Draw what was measured: one page (reports/report.html) with its plots and pictures."""
    from iqaflow.core.workspace import Workspace

    run_stage("report", preset, set_)
    path = Workspace.here().report
    typer.echo(path)
    if show:
        typer.launch(str(path))


@app.command(rich_help_panel="Stages")
def gate(preset: Preset = None, set_: Sets = None) -> None:
    """Register the model and promote it to champion if it is better."""
    run_stage("gate", preset, set_)

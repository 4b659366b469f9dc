"""Questions to a model: assess, compare, score; distort; the demo page; a model over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iqaflow.cli.options import Json, Model, Preset, Sets, context, numbers, settle

app = typer.Typer()


@app.command(rich_help_panel="Model")
def assess(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    json: Json = False,
    jsonl: Annotated[Path | None, typer.Option(help="Write one JSON line per image.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Draw regions and verdicts into this folder.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Undistorted image to compare with.")] = None,
    region: Annotated[str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="Ask about this box (pixels).")] = None,
    mask: Annotated[Path | None, typer.Option(help="Ask about the white part of this picture.")] = None,
    point: Annotated[str | None, typer.Option(metavar="X,Y", help="Ask about the region under this pixel.")] = None,
    phrase: Annotated[str | None, typer.Option(help="Ask about what this phrase names.")] = None,
    question: Annotated[str | None, typer.Option(help="Ask this.")] = None,
    model: Model = "champion",
    preset: Preset = None,
    set_: Sets = None,
) -> None:
    """What is wrong with an image, where, how badly, and how sure we are."""
    from iqaflow.cli.images import assess_command

    settle(model)
    config, workspace = context(preset, set_, needed=False)
    code = assess_command(
        config,
        workspace,
        images=images,
        json=json,
        jsonl=jsonl,
        overlay=overlay,
        reference=reference,
        region=numbers("--region", region, 4),
        mask=mask,
        point=numbers("--point", point, 2),
        phrase=phrase,
        question=question,
        model=model,
    )
    raise typer.Exit(code or 0)


@app.command(rich_help_panel="Model")
def compare(
    a: Annotated[Path, typer.Argument(help="Image A.")],
    b: Annotated[Path, typer.Argument(help="Image B.")],
    reference: Annotated[Path | None, typer.Option(help="Undistorted image.")] = None,
    json: Json = False,
    model: Model = "champion",
    preset: Preset = None,
    set_: Sets = None,
) -> None:
    """Which of two images is better, why, and how sure we are."""
    from iqaflow.cli.images import compare_command

    settle(model)
    config, workspace = context(preset, set_, needed=False)
    raise typer.Exit(compare_command(config, workspace, a=a, b=b, reference=reference, json=json, model=model) or 0)


@app.command(rich_help_panel="Model")
def score(
    folder: Annotated[Path, typer.Argument(help="Folder of images, or one image.")],
    csv: Annotated[Path | None, typer.Option(help="Write path,score,level,confidence.")] = None,
    model: Model = "champion",
    preset: Preset = None,
    set_: Sets = None,
) -> None:
    """Scores 0..1 of many images, in batches."""
    from iqaflow.cli.images import score_command

    settle(model)
    config, workspace = context(preset, set_, needed=False)
    raise typer.Exit(score_command(config, workspace, folder=folder, csv=csv, model=model) or 0)


@app.command(rich_help_panel="Model")
def distort(
    name: Annotated[str, typer.Option(help="Distortion, such as blur_motion; `--name list` prints all.")],
    source: Annotated[Path | None, typer.Argument(metavar="IN", help="Image.")] = None,
    target: Annotated[Path | None, typer.Argument(metavar="OUT", help="Distorted image; written without loss as PNG.")] = None,
    level: Annotated[int, typer.Option(help="1 slight .. 5 catastrophic.")] = 3,
    mask: Annotated[Path | None, typer.Option(help="Distort only the white part of this picture.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of random distortions.")] = 0,
) -> None:
    """Apply one distortion to an image."""
    from iqaflow.cli.images import distort_command

    raise typer.Exit(distort_command(source=source, target=target, name=name, level=level, mask=mask, seed=seed) or 0)


@app.command(rich_help_panel="Model")
def demo(
    model: Annotated[str | None, typer.Option(help="Folder or models:/name@alias; else champion, or the shipped base.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the loopback; else 7860 or any free one.")] = None,
) -> None:
    """A page in the browser: drop an image, see what is wrong and where, click to ask, compare two."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.serve.page import serve

    settle(model)
    serve.run(Workspace.here(), model, port)


@app.command("serve", rich_help_panel="Model")
def serve_model(
    model: Model = "champion",
    host: Annotated[str, typer.Option(help="Address to listen on; there is no password, so others than loopback are open.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; else 5001 or, on loopback, any free one.")] = None,
) -> None:
    """A model over HTTP: assess, compare, and MLflow's scoring protocol; /openapi.json says how."""
    from iqaflow.serve import command

    settle(model)
    command.run(model, host, port)

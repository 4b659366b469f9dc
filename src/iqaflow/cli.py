"""The command line: one door per stage, the pipeline, the model, the services. Thin: everything is imported when called.

    iqaflow --help

Exit codes: 0 done, 1 failed (may work next time), 2 bad input or parameters, 3 stopped on purpose (core/errors.py).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iqaflow.core.config import Config
    from iqaflow.core.workspace import Workspace

app = typer.Typer(
    help="Explainable image quality assessment: annotate, validate, train, calibrate, benchmark, promote, assess.",
    no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(help="Show, compare and write the parameters.", no_args_is_help=True)
app.add_typer(config_app, name="config", rich_help_panel="Pipeline")

Preset = Annotated[str | None, typer.Option("--preset", help="Overlay on params.yaml: tiny, quick, qwen3-vl-4b, ...")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one parameter; repeatable.")]
Model = Annotated[str, typer.Option("--model", help="Folder, models:/name@alias, or champion.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PIPELINE, STAGES, MODEL, SERVICES = "Pipeline", "Stages", "Model", "Services"


INTERRUPTED = 130


def main() -> None:
    """The console script: failures become one sentence on stderr and an exit code."""
    from iqaflow.core import environment, escaping
    from iqaflow.core.workspace import Workspace

    escaping.guard(results=True)
    environment.prepare(Workspace.here().root)
    try:
        _keep_secrets()
        app()
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer has caught the interrupt and says nothing
            _interrupted()
        raise
    except BrokenPipeError:  # `| head` closed our output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if os.environ.get("IQAFLOW_DEBUG"):
            raise
        from iqaflow.core import errors

        print(f"iqaflow: {errors.sentence(error)}", file=sys.stderr)
        sys.exit(errors.exit_code(error))


def _keep_secrets() -> None:
    """Nothing secret into logs, and no address with a password from the environment."""
    from iqaflow.core import redaction
    from iqaflow.core.config import refusal

    redaction.guard_logging()
    refusal.environment()


def _interrupted() -> None:
    print("Interrupted; the same command goes on from what was kept.", file=sys.stderr)
    sys.exit(INTERRUPTED)


def _context(preset: str | None = None, sets: list[str] | None = None, needed: bool = True) -> tuple[Config, Workspace]:
    """The resolved config and the checkout; outside a checkout the defaults do, unless `needed`."""
    from iqaflow.core import config
    from iqaflow.core.workspace import Workspace

    workspace = Workspace.here()
    path = workspace.params if needed or workspace.params.is_file() else None
    return config.load(path, preset, tuple(sets or ())), workspace


def _stage(stage: str, preset: str | None, sets: list[str] | None) -> None:
    from iqaflow.orchestrate import reaper, stages

    config, workspace = _context(preset, sets)
    reaper.settle(workspace)
    stages.run(stage, config, workspace)


def _settle(model: str | None = None) -> None:
    """What earlier runs left is made true before the store is opened; a `model` in a folder does not open it."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate import reaper

    if model is None or not Path(model).is_dir():
        reaper.settle(Workspace.here())


@app.command(rich_help_panel=PIPELINE)
def run(preset: Preset = None, set_: Sets = None,
        force: Annotated[bool, typer.Option("--force", help="Run every stage, up to date or not.")] = False) -> None:
    """The whole pipeline: whatever is out of date, then the gate."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate import pipeline

    raise typer.Exit(pipeline.run(Workspace.here(), preset, tuple(set_ or ()), force))


@app.command(rich_help_panel=STAGES)
def sources(preset: Preset = None, set_: Sets = None) -> None:
    """List the photographs, by content, in data/source.json."""
    _stage("sources", preset, set_)


@app.command(rich_help_panel=PIPELINE)
def plan(json: Json = False, trial: Annotated[bool, typer.Option("--trial", help="Time a few steps if none were.")] = False,
         preset: Preset = None, set_: Sets = None) -> None:
    """What training will take: parameters, memory, tokens, steps, time."""
    from iqaflow.train import plan as module

    raise typer.Exit(module.run(*_context(preset, set_), as_json=json, trial=trial))


@app.command(rich_help_panel=PIPELINE)
def base(preset: Preset = "base", set_: Sets = None) -> None:
    """Make the small base that ships (models/base-tiny) anew from a folder of photographs; hours of CPU."""
    from iqaflow.orchestrate import base_release as release

    result = release.run(*_context(preset, set_))
    typer.echo(result.markdown)


@app.command(rich_help_panel=STAGES)
def annotate(preset: Preset = None, set_: Sets = None) -> None:
    """Photographs -> distorted images with masks, questions and answers (data/annotated)."""
    _stage("annotate", preset, set_)


@app.command(rich_help_panel=STAGES)
def validate(preset: Preset = None, set_: Sets = None) -> None:
    """Great Expectations and a pixel pass over data/annotated; exit 3 names the offending rows."""
    _stage("validate", preset, set_)


@app.command(rich_help_panel=STAGES)
def export(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    format_: Annotated[str, typer.Option(
        "--format", help="datasets (Hugging Face), chat (LLaMA-Factory, ms-swift) or both.")] = "both",
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """data/annotated for other tools, with a dataset card."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.data import export as module

    counts = module.run(Workspace.here(), out, format_, force)
    typer.echo(f"Wrote {counts['images']} images and {counts['conversations']} questions to {out}")


@app.command(rich_help_panel=STAGES)
def train(preset: Preset = None, set_: Sets = None) -> None:
    """Fine-tune the vision-language model with DeepSpeed (models/stage1); continues after a kill."""
    _stage("train", preset, set_)


@app.command(rich_help_panel=STAGES)
def calibrate(preset: Preset = None, set_: Sets = None) -> None:
    """Training-free pixel grounding and confidences (models/calibration.json)."""
    _stage("calibrate", preset, set_)


@app.command(rich_help_panel=STAGES)
def benchmark(preset: Preset = None, set_: Sets = None) -> None:
    """The model beside its baselines on the frozen test split (reports/)."""
    _stage("benchmark", preset, set_)


@app.command(rich_help_panel=STAGES)
def gate(preset: Preset = None, set_: Sets = None) -> None:
    """Register the model and promote it to champion if it is better."""
    _stage("gate", preset, set_)


@app.command(rich_help_panel=PIPELINE)
def rollback(preset: Preset = None, set_: Sets = None) -> None:
    """Make the champion before the present one champion again."""
    from iqaflow.track import registry

    _settle()
    number = registry.rollback(*_context(preset, set_))
    typer.echo(f"Version {number} is champion again; `iqaflow rollback` once more undoes this.")


@config_app.command("show")
def config_show(preset: Preset = None, set_: Sets = None, json: Json = False) -> None:
    """The resolved parameters."""
    from iqaflow.core.config import params_file as params

    config, _ = _context(preset, set_, needed=False)
    typer.echo(params.as_json(config) if json else params.as_yaml(config, docs=False), nl=False)


@config_app.command("diff")
def config_diff(preset: Preset = None, set_: Sets = None) -> None:
    """What differs from the defaults: key, default, value."""
    from iqaflow.core import config as module

    config, _ = _context(preset, set_, needed=False)
    for key, (old, new) in module.diff(module.Config(), config).items():
        typer.echo(f"{key}: {old} -> {new}")


@config_app.command("write")
def config_write(preset: Preset = None, set_: Sets = None,
                 defaults: Annotated[bool, typer.Option(help="Start from the defaults, not from the file.")] = False) -> None:
    """Write params.yaml: every parameter with its documentation."""
    from iqaflow.core import config as module
    from iqaflow.core.config import params_file as params
    from iqaflow.core.workspace import Workspace

    workspace = Workspace.here()
    path = workspace.params if workspace.params.is_file() and not defaults else None
    params.write(workspace.params, module.load(path, preset, tuple(set_ or ())))
    typer.echo(f"Wrote {workspace.params}")


@app.command(rich_help_panel=MODEL)
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
    model: Model = "champion", preset: Preset = None, set_: Sets = None,
) -> None:
    """What is wrong with an image, where, how badly, and how sure we are."""
    from iqaflow.infer.command import assess_command

    _settle(model)
    config, workspace = _context(preset, set_, needed=False)
    code = assess_command(
        config, workspace, images=images, json=json, jsonl=jsonl, overlay=overlay, reference=reference,
        region=_numbers("--region", region, 4), mask=mask, point=_numbers("--point", point, 2), phrase=phrase,
        question=question, model=model)
    raise typer.Exit(code or 0)


@app.command(rich_help_panel=MODEL)
def compare(
    a: Annotated[Path, typer.Argument(help="Image A.")], b: Annotated[Path, typer.Argument(help="Image B.")],
    reference: Annotated[Path | None, typer.Option(help="Undistorted image.")] = None,
    json: Json = False, model: Model = "champion", preset: Preset = None, set_: Sets = None,
) -> None:
    """Which of two images is better, why, and how sure we are."""
    from iqaflow.infer.command import compare_command

    _settle(model)
    config, workspace = _context(preset, set_, needed=False)
    raise typer.Exit(compare_command(config, workspace, a=a, b=b, reference=reference, json=json, model=model) or 0)


@app.command(rich_help_panel=MODEL)
def score(
    folder: Annotated[Path, typer.Argument(help="Folder of images, or one image.")],
    csv: Annotated[Path | None, typer.Option(help="Write path,score,level,confidence.")] = None,
    model: Model = "champion", preset: Preset = None, set_: Sets = None,
) -> None:
    """Scores 0..1 of many images, in batches."""
    from iqaflow.infer.command import score_command

    _settle(model)
    config, workspace = _context(preset, set_, needed=False)
    raise typer.Exit(score_command(config, workspace, folder=folder, csv=csv, model=model) or 0)


@app.command(rich_help_panel=MODEL)
def distort(
    name: Annotated[str, typer.Option(help="Distortion, such as blur_motion; `--name list` prints all.")],
    source: Annotated[Path | None, typer.Argument(metavar="IN", help="Image.")] = None,
    target: Annotated[Path | None, typer.Argument(metavar="OUT", help="Distorted image; written without loss as PNG.")] = None,
    level: Annotated[int, typer.Option(help="1 slight .. 5 catastrophic.")] = 3,
    mask: Annotated[Path | None, typer.Option(help="Distort only the white part of this picture.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of random distortions.")] = 0,
) -> None:
    """Apply one distortion to an image."""
    from iqaflow.infer.command import distort_command

    raise typer.Exit(distort_command(source=source, target=target, name=name, level=level, mask=mask, seed=seed) or 0)


@app.command(rich_help_panel=MODEL)
def demo(
    model: Annotated[str | None, typer.Option(help="Folder or models:/name@alias; else champion, or the shipped base.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the loopback; else 7860 or any free one.")] = None,
) -> None:
    """A page in the browser: drop an image, see what is wrong and where, click to ask, compare two."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.page import serve

    _settle(model)
    serve.run(Workspace.here(), model, port)


@app.command(rich_help_panel=PIPELINE)
def report(show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False) -> None:
    """Where the report is."""
    from iqaflow.core.errors import InputError
    from iqaflow.core.workspace import Workspace

    path = Workspace.here().report
    if not path.is_file():
        raise InputError(f"{path} is not there yet: `make run` (or `iqaflow run`) makes it.")
    typer.echo(path)
    if show:
        typer.launch(str(path))


@app.command(rich_help_panel=SERVICES)
def up(preset: Preset = None, set_: Sets = None) -> None:
    """Start Prefect, MLflow and a worker on this machine's loopback; register the scheduled retraining."""
    from iqaflow.orchestrate import services

    _settle()
    services.up(*_context(preset, set_))


@app.command(rich_help_panel=SERVICES)
def down() -> None:
    """Stop what `iqaflow up` started, and nothing else."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate import services

    services.down(Workspace.here())


@app.command(rich_help_panel=SERVICES)
def doctor(json: Json = False) -> None:
    """Start every component for real and say in one table what works."""
    from iqaflow.core.workspace import Workspace
    from iqaflow.orchestrate import doctor as module

    _settle()
    raise typer.Exit(module.run(Workspace.here(), json))


def _numbers(option: str, text: str | None, count: int) -> tuple[float, ...] | None:
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


if __name__ == "__main__":
    main()

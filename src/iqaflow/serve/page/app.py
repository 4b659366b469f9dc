"""How the page is laid out and what its events do. One picture is both where a photograph is dropped and where the regions are
drawn and clicked; the file it came from is kept beside it, untouched, and is what the model gets.
"""

from __future__ import annotations

import html
import json
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from iqaflow.core.errors import InputError
from iqaflow.data.images import encode_png
from iqaflow.draw import overlay, screen
from iqaflow.serve.page import views
from iqaflow.serve.page.desk import Desk, Look

WELCOME = "Drop a photograph, or take one of the examples."
BOTH = "Add two images to see which is better, and why."
HINTS = {
    "point": "Click the picture to ask about the region at that point.",
    "box": "Click two opposite corners of a box to ask about it.",
    "corner": "Now click the opposite corner.",
}
SIDE_BY_SIDE = 1.7  # two pictures beside each other are shown smaller, so their letters are larger
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# gradio would open, convert and encode an upload anew, and fail before we can say why; the file itself is wanted
RAW: dict[str, Any] = {**QUIET, "preprocess": False}
QUEUED: dict[str, Any] = {
    "show_progress": "minimal",
    "concurrency_limit": 1,
    "concurrency_id": "model",
    "api_visibility": "private",
}


def build(desk: Desk, model: str, note: str, examples: dict[str, Path], folder: Path) -> gr.Blocks:
    """The page. `model` and `note` are said at its top; files to download are written into `folder`."""
    with gr.Blocks(title="iqaflow", fill_width=True) as page:
        gr.HTML(views.head(model, note))
        with gr.Tab("Assess"):
            _assess_tab(desk, [examples["pixelated"], examples["clean"]], folder)
        with gr.Tab("Compare"):
            _compare_tab(desk, [examples["clean"], examples["noisy"]], folder)
    return page


def _assess_tab(desk: Desk, examples: list[Path], folder: Path) -> None:
    look = gr.State()
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            picture, path, given = _slot(desk, "Photograph", "min(460px, 75vw)", "picture")
            legend = gr.HTML(elem_id="legend")
            mode = gr.Radio(["point", "box"], value="point", label="Ask about a region", info=HINTS["point"], elem_id="mode")
        with gr.Column(scale=2, min_width=320):
            answer = gr.HTML(elem_id="answer")
            verdict = gr.HTML(views.message(WELCOME), elem_id="verdict")
            with gr.Row():
                as_json = gr.DownloadButton("Download JSON", size="md", interactive=False, elem_id="json")
                as_png = gr.DownloadButton("Download PNG", size="md", interactive=False, elem_id="png")
    samples = gr.Examples([[str(file)] for file in examples], [picture], label="Examples", elem_id="examples")
    with gr.Accordion("Reference and question", open=False), gr.Row():
        _, reference, given_too = _slot(desk, "Undistorted original, if you have it", 200, "reference")
        question = gr.Textbox(
            label="Question",
            placeholder="What is wrong with this image?",
            info="Enter asks it.",
            max_length=500,
            elem_id="question",
        )

    def assess(file: str | None, original: str | None, text: str) -> dict[Any, Any]:
        if not file:
            return {**shown(None), verdict: views.message(WELCOME)}
        try:
            return shown(desk.assess(file, original, text))
        except InputError as error:
            return {**shown(None), verdict: views.message(str(error), alert=True)}

    def shown(now: Look | None) -> dict[Any, Any]:
        stale = dict.fromkeys((as_json, as_png), gr.update(interactive=False))  # until `files` has made those of this look
        if now is None:
            return {look: None, legend: "", answer: "", **stale}
        return {
            **stale,
            look: now,
            picture: screen.marked(now.pixels, now.regions, now.corner),
            verdict: views.verdict(now.result, now.reference),
            legend: views.legend(now.regions, pointed=now.pointed is not None),
            answer: views.region(len(now.regions) - 1, now.pointed) if now.pointed else "",
        }

    def click(now: Look | None, how: str, event: gr.SelectData) -> dict[Any, Any]:
        if now is None:
            return {look: None}
        at = screen.original(event.index, now.pixels)
        if how == "box" and now.corner is None:
            return {**shown(now.at_corner(at)), mode: gr.update(info=HINTS["corner"])}
        try:
            now = desk.ask(now, region=_box(now.corner, at)) if how == "box" and now.corner else desk.ask(now, point=at)
        except InputError as error:
            return {mode: gr.update(info=str(error))}
        return {**shown(now), mode: gr.update(info=HINTS[how])}

    def switch(now: Look | None, how: str) -> dict[Any, Any]:
        fresh = shown(now.at_corner(None)) if now and now.corner else {}
        return {**fresh, mode: gr.update(info=HINTS[how])}

    def files(now: Look | None) -> dict[Any, Any]:
        if now is None:
            return {look: None}
        stem = Path(now.result["image"]["path"]).stem
        drawn = encode_png(overlay.draw(now.pixels, now.assessment))
        return {
            as_json: _download(folder, f"{stem}.json", json.dumps(now.assessment, indent=1).encode()),
            as_png: _download(folder, f"{stem}-regions.png", drawn),
        }

    results = [look, picture, verdict, legend, answer, mode, as_json, as_png]
    given.append(samples.load_input_event.then(lambda file: file["path"], picture, path, **RAW))
    questions = [(step.then if hasattr(step, "then") else step) for step in (*given, *given_too, question.submit)]
    done = [ask(assess, [path, reference, question], results, show_progress_on=verdict, **QUEUED) for ask in questions]
    done.append(mode.change(switch, [look, mode], results, **QUIET))
    done.append(picture.select(click, [look, mode], results, show_progress_on=legend, **QUEUED))
    for step in done:
        step.then(files, look, [look, as_json, as_png], **QUIET)


def _compare_tab(desk: Desk, pair: list[Path], folder: Path) -> None:
    names = "Image A", "Image B"
    with gr.Row():
        slots = [_slot(desk, name, "min(300px, 75vw)", f"image-{name[-1].lower()}") for name in names]
    images, paths = [image for image, _, _ in slots], [path for _, path, _ in slots]
    with gr.Row():
        with gr.Column(min_width=320):
            verdict = gr.HTML(views.message(BOTH), elem_id="comparison")
            legend = gr.HTML(elem_id="comparison-legend")
            as_json = gr.DownloadButton("Download JSON", size="md", interactive=False, elem_id="comparison-json")
        with gr.Column(min_width=320):
            slider = gr.ImageSlider(label="Drag to compare", format="png", interactive=False, max_height=420, elem_id="slider")
    samples = gr.Examples(
        [[str(file) for file in pair]], images, elem_id="pairs", label="Example: the same photograph, spoilt in one place"
    )
    with gr.Accordion("Reference", open=False):
        _, reference, given = _slot(desk, "Undistorted original, if you have it", 200, "comparison-reference")

    def compare(a: str | None, b: str | None, original: str | None) -> dict[Any, Any]:
        none = {legend: "", slider: None, as_json: gr.update(interactive=False)}
        if not (a and b):
            return {**none, verdict: views.message(BOTH)}
        try:
            result = desk.compare(a, b, original)
            pixels = [desk.pixels(file) for file in (a, b)]
        except InputError as error:
            return {**none, verdict: views.message(str(error), alert=True)}
        regions = views.sides(result)
        return {
            verdict: views.comparison(result),
            slider: screen.pair(*pixels),
            legend: views.legends(regions),
            as_json: _download(folder, "comparison.json", json.dumps(result, indent=1).encode()),
            **{
                image: screen.marked(photograph, marks, letters=SIDE_BY_SIDE)
                for image, photograph, marks in zip(images, pixels, regions.values(), strict=True)
            },
        }

    for _, _, steps in slots:
        given += steps
    given.append(samples.load_input_event.then(lambda *files: [file["path"] for file in files], images, paths, **RAW))
    for step in given:
        step.then(compare, [*paths, reference], [verdict, legend, slider, as_json, *images], show_progress_on=verdict, **QUEUED)


def _slot(desk: Desk, label: str, height: int | str, name: str) -> tuple[gr.Image, gr.State, list[Any]]:
    """A place for one image, a state with the path of the very file that was dropped there, and the steps that change it."""
    image = gr.Image(
        label=label, height=height, type="filepath", format="png", sources=["upload"], buttons=["fullscreen"], elem_id=name
    )
    path = gr.State()

    def take(file: dict[str, Any]) -> tuple[Any, str | None]:
        try:
            return screen.shrunk(desk.pixels(file["path"])), file["path"]  # browsers cannot show every format that we read
        except InputError as error:
            gr.Warning(html.escape(str(error)), duration=20, title="This file cannot be used")
            return None, None

    return image, path, [image.upload(take, image, [image, path], **RAW), image.clear(lambda: None, None, path, **QUIET)]


def _box(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, ...]:
    (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(first, second, strict=True))
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise InputError("That box is empty: click a corner farther from the first.")
    return x0, y0, x1, y1


def _download(folder: Path, name: str, data: bytes) -> Any:
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    path.write_bytes(data)
    return gr.update(value=str(path), interactive=True)

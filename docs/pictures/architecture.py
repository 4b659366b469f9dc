"""Draws docs/pictures/architecture.svg: nine hops to a stage, the way of a photograph, and the rooms that each stage passes.

    python docs/pictures/architecture.py

The dots are the imports as they are (tests/unit/test_rooms.py finds them), so the picture is drawn anew when they change; a test
says when.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests.unit.test_rooms import MODULES, imported, room  # noqa: E402

SVG = Path(__file__).with_suffix(".svg")
INK, SOFT, LINE, PAPER = "#1f2933", "#5f6c7b", "#c9d1da", "#ffffff"
BLUE, GREEN, AMBER, VIOLET, ROSE, GREY, SLATE = "#2563a8", "#1f7a67", "#a8640f", "#6b4fa0", "#b03a62", "#66727f", "#33475b"
LABELS, COLUMN, GAP, WIDTH = 292, 110, 26, 1452

HOPS = (  # what is called, its file, what it does, the way to the next: an import, a function handed in, a process, a name
    ("make run", "Makefile", "sets up .venv", "process"),
    ("iqaflow run", "cli/pipeline.py", "options", "import"),
    ("run", "orchestrate/run.py", "lease; what is stale", "handed in"),
    ("retrain", "flows/retrain.py", "flow; MLflow run", "import"),
    ("annotate, ...", "flows/stages.py", "one flow per stage", "import"),
    ("reproduce", "flows/run_stage.py", "task with retries", "import"),
    ("dvc repro", "orchestrate/dvc.py", "inputs by hash", "process"),
    ("iqaflow annotate", "cli/stages.py", "its own process", "import"),
    ("run", "orchestrate/stages.py", "fence, MLflow child", "by name"),
    ("run(config, ...)", "annotate/stage.py", "the work itself", ""),
)
STAGES = {  # room -> what it does, what it leaves
    "sources": ("lists, splits", ("data/source.json",)),
    "annotate": ("distorts, asks", ("data/annotated",)),
    "validate": ("checks every row", ("validation.json",)),
    "train": ("fine-tunes", ("models/stage1",)),
    "calibrate": ("how sure, where", ("calibration.json",)),
    "benchmark": ("measures", ("metrics.json", "items.parquet")),
    "report": ("draws", ("report.html", "figures/")),
    "gate": ("promotes or not", ("VERDICT:", "champion?")),
    "infer": ("asks the model", ("VERDICT: what,", "where, how sure")),
    "serve": ("page, HTTP", ("the same,", "to others")),
}
ROOMS = {  # below the stages: colour, what it holds
    "registry": (VIOLET, "versions, champion"),
    "track": (VIOLET, "MLflow's runs, the spool"),
    "engine": (GREEN, "one encoding, all questions"),
    "grounding": (GREEN, "from words to pixels"),
    "regions": (GREEN, "superpixels, masks, SAM"),
    "model": (GREEN, "families, packing, weights"),
    "draw": (ROSE, "marks, overlays, pages"),
    "tasks": (AMBER, "questions and answers"),
    "data": (AMBER, "tables, images, masks"),
    "distortions": (AMBER, "35 functions, 5 levels"),
    "iqa": (AMBER, "classic measures"),
    "core": (GREY, "config, files, locks, secrets"),
}


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports by itself."""
    used: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        used.setdefault(room(name), set()).update(room(other) for other in imported(path) if room(other) != room(name))
    return used


def closure(start: str, used: dict[str, set[str]]) -> set[str]:
    return used[start].union(*(closure(other, used) for other in used[start]))


def text(x: float, y: float, words: str, size: float = 12, fill: str = INK, weight: int = 400, anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str = "none", radius: float = 7) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}" stroke="{stroke}"/>'


def arrow(x0: float, y0: float, x1: float, y1: float, color: str = SOFT, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="3 2.5"' if dashed else ""
    return (
        f'<path d="M{x0:g} {y0:g}L{x1:g} {y1:g}" stroke="{color}" stroke-width="1.7" fill="none" marker-end="url(#tip)"{dash}/>'
    )


def column(number: int) -> float:
    """The middle of a stage's column; asking a model stands apart from making one."""
    return LABELS + COLUMN * (number + 0.5) + (GAP if number >= list(STAGES).index("infer") else 0)


def hops(top: float) -> Iterator[str]:
    width, space = 125, 17.1
    colors = {"flows": SLATE, "cli": VIOLET, "orchestrate": GREEN, "Makefile": GREY}
    yield text(24, top, "Nine hops from make run to a stage", 16, weight=700)
    yield text(
        WIDTH - 24,
        top,
        "solid: an import · dashed: a process, a function handed in, or a module by its name",
        11.5,
        SOFT,
        anchor="end",
    )
    for number, (title, file, what, way) in enumerate(HOPS):
        x, color = 24 + number * (width + space), colors.get(file.partition("/")[0], BLUE)
        yield box(x, top + 16, width, 66, PAPER, color)
        yield box(x, top + 16, width, 22, color)
        yield text(x + width / 2, top + 31.5, title, 12, PAPER, 700, "middle")
        yield text(x + width / 2, top + 55, file, 10.5, color, anchor="middle")
        yield text(x + width / 2, top + 72, what, 11, SOFT, anchor="middle")
        if way:
            yield arrow(x + width + 2, top + 49, x + width + space - 3, top + 49, dashed=way != "import")
            yield text(x + width + space / 2, top + 42, str(number + 1), 10.5, SOFT, 700, "middle")


def stages(top: float) -> Iterator[str]:
    yield text(24, top, "The way of a photograph", 16, weight=700)
    first, last = column(0) - COLUMN / 2, column(len(STAGES) - 1) + COLUMN / 2
    split = column(list(STAGES).index("gate")) + COLUMN / 2
    yield text((first + split) / 2, top, "made into a model: a folder of photographs, to a champion", 12, SOFT, 600, "middle")
    yield text((split + GAP + last) / 2, top, "asked about: photo.jpg", 12, SOFT, 600, "middle")
    y = top + 26
    yield box(24, y - 2, 210, 50, "#eef3f8", LINE)
    yield text(129, y + 19, "photographs", 13, weight=700, anchor="middle")
    yield text(129, y + 37, "packaged, folder, download, DVC", 11, SOFT, anchor="middle")
    yield arrow(236, y + 23, first + 2, y + 23)
    for number, (name, (what, left)) in enumerate(STAGES.items()):
        x, asking = column(number), name in ("infer", "serve")
        yield box(x - 48, y, 96, 46, SLATE if asking else BLUE)
        yield text(x, y + 20, f"{name}/", 12.5, PAPER, 700, "middle")
        yield text(x, y + 36, what, 10.5, "#dde8f3", anchor="middle")
        if number + 1 < len(STAGES):
            yield arrow(x + 49, y + 23, column(number + 1) - 51, y + 23, dashed=name == "gate")
        for line, words in enumerate(left):
            told = words.startswith("VERDICT")
            yield text(x, y + 66 + 15 * line, words, 11, INK, 700 if told else 400, "middle")
    yield text(24, y + 66, "what a stage leaves for the next", 11.5, SOFT)


def floors(top: float, used: dict[str, set[str]]) -> Iterator[str]:
    height, bottom = 31, top + 31 * (len(ROOMS) + 1)
    yield text(24, top + 22, "also stands on", 11.5, SOFT)
    for number, name in enumerate(STAGES):
        others = [other for other in STAGES if other in used[name]]
        yield f'<path d="M{column(number):g} {top + height}V{bottom - height / 2:g}" stroke="{LINE}" stroke-width="1.6"/>'
        for line, other in enumerate(reversed(others)):
            yield text(column(number), top + 22 - 14 * line, f"{other}/", 11, BLUE, 600, "middle")
    for row, (name, (color, what)) in enumerate(ROOMS.items()):
        y = top + height * (row + 1)
        yield box(24, y + 2, WIDTH - 48, height - 4, color, radius=5).replace("/>", ' opacity="0.09"/>')
        yield box(24, y + 2, 6, height - 4, color, radius=2)
        yield text(40, y + 20, f"{name}/", 13, color, 700)
        yield text(138, y + 20, what, 11, SOFT)
        for number, stage in enumerate(STAGES):
            x = column(number)
            if name in used[stage]:
                yield f'<circle cx="{x:g}" cy="{y + height / 2:g}" r="7" fill="{color}"/>'
            elif name in closure(stage, used):
                yield f'<circle cx="{x:g}" cy="{y + height / 2:g}" r="4.5" fill="{PAPER}" stroke="{color}" stroke-width="1.8"/>'
    yield f'<circle cx="31" cy="{bottom + 20:g}" r="7" fill="{GREY}"/>' + text(44, bottom + 24, "imports it", 11.5, SOFT)
    yield f'<circle cx="122" cy="{bottom + 20:g}" r="4.5" fill="{PAPER}" stroke="{GREY}" stroke-width="1.8"/>'
    yield text(134, bottom + 24, "through another room", 11.5, SOFT)
    yield text(
        WIDTH - 24,
        bottom + 24,
        "A room stands above what it uses; on top cli/ and orchestrate/. flows/ imports rooms, and no room imports flows/.",
        11.5,
        SOFT,
        anchor="end",
    )


def svg() -> str:
    used = imports()
    height = 286 + 31 * (len(ROOMS) + 1) + 40
    parts = [*hops(38), *stages(162), *floors(286, used)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">\n'
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="6.5" refY="4" markerWidth="5.5" markerHeight="5.5" orient="auto">'
        f'<path d="M0 0.6L7.4 4L0 7.4z" fill="{SOFT}"/></marker></defs>\n'
        + box(0, 0, WIDTH, height, PAPER, radius=0)
        + "\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    SVG.write_text(svg(), encoding="utf-8")

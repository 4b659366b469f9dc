"""Pictures of a calibration, the same bytes for the same numbers: reliability diagrams and a sheet of groundings."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow.calibrate.fit import Item
from iqaflow.calibrate.ground import Grounding
from iqaflow.calibrate.masks import contains, iou
from iqaflow.infer.letters import typeface
from iqaflow.infer.strokes import INK, PALETTE, PAPER, marker, outline, tint

BEFORE, AFTER = "#d55e00", "#0072b2"  # Okabe and Ito's vermilion and blue
TILE_PX, COLUMNS, TILES = 240, 4, 12


def reliability_csv(curves: dict[str, dict[str, Any]]) -> str:
    """One line per bin: `task,when,lo,hi,confidence,accuracy,n`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("task", "when", "lo", "hi", "confidence", "accuracy", "n"))
    for task, curve in curves.items():
        for when in ("before", "after"):
            for row in curve[when]:
                numbers = (f"{row[key]:.6f}" for key in ("lo", "hi", "confidence", "accuracy"))
                table.writerow((task, when, *numbers, row["n"]))
    return text.getvalue()


def reliability_png(curves: dict[str, dict[str, Any]]) -> bytes:
    """A diagram per task: accuracy against confidence before and after, point area by number of answers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = {task: curve for task, curve in curves.items() if curve["n"]}
    columns = min(3, max(1, len(drawn)))
    rows = -(-max(1, len(drawn)) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.5 * rows), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for at, (task, curve) in enumerate(drawn.items()):
        axes = figure.add_subplot(rows, columns, at + 1)
        axes.plot((0, 1), (0, 1), color="#888888", linewidth=1, linestyle="--")
        for when, colour, shape in (("before", BEFORE, "s"), ("after", AFTER, "o")):
            bins = curve[when]
            x, y = [row["confidence"] for row in bins], [row["accuracy"] for row in bins]
            areas = [12 + 240 * row["n"] / curve["n"] for row in bins]
            axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.7)
            axes.scatter(x, y, s=areas, color=colour, marker=shape, alpha=0.75, edgecolors="white", linewidths=0.6,
                         label=f"{when}: ECE {curve[f'ece_{when}']:.3f}")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"{task} (n = {curve['n']})", xlabel="confidence",
                 ylabel="share right")
        legend = axes.legend(loc="lower right", fontsize=8, frameon=False)
        for handle in legend.legend_handles:
            handle.set_sizes([30])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.set_axisbelow(True)
    if not drawn:
        figure.text(0.5, 0.5, "no answers to calibrate", ha="center", va="center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def overlays_png(pairs: Sequence[tuple[Item, Grounding]]) -> bytes:
    """A sheet of at most 12 local groundings spread evenly from the best IoU to the worst: failures show too."""
    from PIL import Image, ImageDraw

    from iqaflow.data.images import encode_png
    from iqaflow.distortions import categories

    scored = sorted(((iou(found.mask, item.true_mask), at) for at, (item, found) in enumerate(pairs)),
                    key=lambda pair: (-pair[0], pair[1]))
    count = min(TILES, len(scored))
    picked = [scored[round(step)] for step in np.linspace(0, len(scored) - 1, count)] if count else []
    gap, caption, head = 12, 44, 40
    rows = -(-max(1, count) // COLUMNS)
    size = gap + COLUMNS * (TILE_PX + gap), head + rows * (TILE_PX + caption + gap)
    page = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(page)
    title = f"{count} places of the calibration split, best to worst. White line: truth. Blue: answer. Orange: point."
    pen.text((gap, head / 2), title, fill=INK, font=typeface(15), anchor="lm")
    for at, (value, chosen) in enumerate(picked):
        item, found = pairs[chosen]
        x = gap + at % COLUMNS * (TILE_PX + gap)
        y = head + at // COLUMNS * (TILE_PX + caption + gap)
        tile = Image.fromarray(tile_of(item, found))
        page.paste(tile, (x + (TILE_PX - tile.width) // 2, y + (TILE_PX - tile.height) // 2))
        place = "whole image" if found.whole else "hit" if contains(item.true_mask, found.points[0]) else "miss"
        which, _, category = item.kind.partition("_")
        named = categories().get(category)
        question = f"{which}: {named.phrase}" if named else item.kind.replace("_", " ")
        for line, text in enumerate((question, f"IoU {value:.2f}, {place}")):
            pen.text((x, y + TILE_PX + 12 + 18 * line), text, fill=INK, font=typeface(14), anchor="lm")
    return encode_png(np.asarray(page))


def tile_of(item: Item, found: Grounding) -> np.ndarray:
    """One grounding fitted into a square tile: answer tinted and outlined in blue, truth in white, points."""
    import cv2

    height, width = item.size
    scale = TILE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def fitted(values: np.ndarray) -> np.ndarray:
        return cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)

    tile = np.ascontiguousarray(fitted(item.image))
    answer, truth = (fitted(mask.astype(np.uint8)) > 0 for mask in (found.mask, item.true_mask))
    blue = PALETTE[5]
    tint(tile, answer, blue, 0.35)
    outline(tile, answer, blue, 2)
    outline(tile, truth, (255, 255, 255), 2)
    for place, colour in ((found.negatives, INK), (found.points[::-1], PALETTE[0])):
        for x, y in place:
            marker(tile, (x * scale, y * scale), colour, 6)
    return tile

"""Pictures of measurements, the same bytes for the same numbers: reliability diagrams and a sheet of groundings."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iqaflow.data.images import decode, encode_png
from iqaflow.data.masks import contains, decode_mask, iou
from iqaflow.draw.marks import INK, PALETTE, PAPER, marker, outline, tint
from iqaflow.draw.text import typeface
from iqaflow.grounding.examples import evenly

BEFORE, AFTER = "#d55e00", "#0072b2"  # Okabe and Ito's vermilion and blue
TILE_PX, COLUMNS, TILES = 240, 4, 12


def reliability_png(curves: Mapping[str, Mapping[str, Any]]) -> bytes:
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
            axes.scatter(
                x,
                y,
                s=areas,
                color=colour,
                marker=shape,
                alpha=0.75,
                edgecolors="white",
                linewidths=0.6,
                label=f"{when}: ECE {curve[f'ece_{when}']:.3f}",
            )
        axes.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"{task} (n = {curve['n']})", xlabel="confidence", ylabel="share right"
        )
        from matplotlib.collections import PathCollection

        legend = axes.legend(loc="lower right", fontsize=8, frameon=False)
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([30])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e5e5", linewidth=0.6)
        axes.set_axisbelow(True)
    if not drawn:
        figure.text(0.5, 0.5, "no answers to calibrate", ha="center", va="center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def overlays_png(rows: Sequence[dict[str, Any]]) -> bytes:
    """A sheet of at most 12 local groundings (`grounding.examples`) spread evenly from the best IoU to the worst: failures show
    too.
    """
    from PIL import Image, ImageDraw

    from iqaflow.distortions import categories

    groundings = [_Grounding(row) for row in rows]
    groundings.sort(key=lambda each: -each.iou)
    chosen = evenly(groundings, TILES)
    gap, caption, head = 12, 44, 40
    rows_of_tiles = -(-max(1, len(chosen)) // COLUMNS)
    size = gap + COLUMNS * (TILE_PX + gap), head + rows_of_tiles * (TILE_PX + caption + gap)
    page = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(page)
    title = f"{len(chosen)} places of the calibration split, best to worst. White line: truth. Blue: answer. Orange: point."
    pen.text((gap, head / 2), title, fill=INK, font=typeface(15), anchor="lm")
    for at, grounding in enumerate(chosen):
        x = gap + at % COLUMNS * (TILE_PX + gap)
        y = head + at // COLUMNS * (TILE_PX + caption + gap)
        tile = Image.fromarray(grounding.tile())
        page.paste(tile, (x + (TILE_PX - tile.width) // 2, y + (TILE_PX - tile.height) // 2))
        which, _, category = grounding.text.partition("_")
        named = categories().get(category)
        question = f"{which}: {named.phrase}" if named else grounding.text.replace("_", " ")
        for line, text in enumerate((question, f"IoU {grounding.iou:.2f}, {grounding.place}")):
            pen.text((x, y + TILE_PX + 12 + 18 * line), text, fill=INK, font=typeface(14), anchor="lm")
    return encode_png(np.asarray(page))


class _Grounding:
    """One row of `grounding.examples`, decoded."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.image, self.text = decode(row["image"]), row["text"]
        self.truth, self.answer = decode_mask(row["true_mask_rle"]), decode_mask(row["pred_mask_rle"])
        self.points, self.negatives = row["points"], row["negatives"]
        self.iou = iou(self.answer, self.truth)
        self.place = "whole image" if row["whole"] else "hit" if contains(self.truth, tuple(self.points[0])) else "miss"

    def tile(self) -> np.ndarray:
        """Fitted into a square of `TILE_PX`: answer tinted and outlined in blue, truth in white, points."""
        import cv2

        height, width = self.truth.shape
        scale = TILE_PX / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))

        def fitted(values: np.ndarray) -> np.ndarray:
            return cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)

        tile = np.ascontiguousarray(fitted(self.image))
        answer, truth = (fitted(mask.astype(np.uint8)) > 0 for mask in (self.answer, self.truth))
        blue = PALETTE[5]
        tint(tile, answer, blue, 0.35)
        outline(tile, answer, blue, 2)
        outline(tile, truth, (255, 255, 255), 2)
        for place, colour in ((self.negatives, INK), (self.points[::-1], PALETTE[0])):
            for x, y in place:
                marker(tile, (x * scale, y * scale), colour, 6)
        return tile

"""Sheets of random samples of an annotated data set, for a person to read: pictures, places, question, answer.

    python perf/sheets.py [--folder data/annotated] [--task T] [--split S] [--n 30] [--seed 0] OUT.html
    python perf/sheets.py --task ground OUT.png

One sheet with `n` samples of every task (or of one). Masks of the regions meant are outlined in white, boxes of the question in
blue, boxes and points of the answer in orange. The file needs nothing beside it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from iqaflow import tasks
from iqaflow.data import masks, tables
from iqaflow.data.image_store import Pictures
from iqaflow.data.images import decode
from iqaflow.draw.marks import marker, outline, rectangle
from iqaflow.draw.overlay import enlargement
from iqaflow.draw.text import typeface, wrap
from iqaflow.tasks import grammar

WHITE, BLUE, ORANGE = (255, 255, 255), (40, 120, 255), (230, 140, 0)
CARD_PX, PICTURE_PX, GAP_PX, FONT_PX = 620, 260, 14, 15
STYLE = """body{font:15px/1.4 system-ui,sans-serif;margin:2em;color:#16161a;background:#fafaf7}h2{margin-top:2em}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(30em,1fr));gap:1em}
.card{background:#fff;border:1px solid #ddd;border-radius:6px;padding:.8em}img{max-width:100%}
.q{color:#0b4fb3}.t{color:#6e6e74;font-size:13px}p{margin:.3em 0}"""


def samples(folder: Path, task: str, split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Conversations of a task, chosen by hash: random, and the same every time."""
    rows = [row for row in tables.read_rows(folder, "conversations", split) if row["task"] == task]
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}{row['conversation_id']}".encode()).digest())[:count]


def picture(row: dict[str, Any], pictures: Pictures) -> np.ndarray:
    """The images of a conversation side by side, with what is meant and said drawn on the last one."""
    shown = []
    for entry in row["image_ids"]:
        kind = "reference" if entry["role"] == "reference" else "image"
        image = decode(pictures.read(entry["image_id"], kind))
        factor = enlargement(*image.shape[:2])
        shown.append(image.repeat(factor, 0).repeat(factor, 1))
    canvas, image_row = shown[-1], pictures.row(row["image_ids"][-1]["image_id"])
    height, width = canvas.shape[:2]
    if row["task"] != "rate":
        for region in image_row["regions"]:
            if region["region_id"] in row["targets"]["region_ids"]:
                mask = masks.decode_mask(region["mask_rle"])
                outline(canvas, mask.repeat(height // mask.shape[0], 0).repeat(width // mask.shape[1], 1), WHITE, 2)
        for text, colour in zip((turn["text"] for turn in row["turns"][-2:]), (BLUE, ORANGE), strict=True):
            for place in grammar.parse(text).places:
                if place.last is None:
                    u, v = grammar.centre(place.first)
                    marker(canvas, (u * width, v * height), colour, 5)
                else:
                    rectangle(canvas, grammar.cells_box(place.first, place.last, width, height), colour, 2)
    top = max(one.shape[0] for one in shown)
    padded = [np.pad(one, ((0, top - one.shape[0]), (0, 8), (0, 0)), constant_values=255) for one in shown]
    return np.concatenate(padded, axis=1)[:, :-8]


def lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person reads beside the picture: (class, text)."""
    targets = row["targets"]
    truth = ", ".join(f"{name} {level:g}" for name, level in zip(targets["categories"], targets["levels"], strict=False))
    note = " | ".join(
        part
        for part in (row["conversation_id"], row["style"], row["reference_mode"], targets["kind"], truth, targets["better"])
        if part
    )
    turns = [("q" if turn["role"] == "user" else "a", turn["text"]) for turn in row["turns"]]
    return [*turns, ("t", f"{' '.join(image['role'] for image in row['image_ids'])} | {note}")]


def as_html(chosen: dict[str, list[dict[str, Any]]], pictures: Pictures) -> str:
    parts = [f"<!doctype html><meta charset=utf-8><title>Samples</title><style>{STYLE}</style><h1>Random samples per task</h1>"]
    for task, rows in chosen.items():
        parts.append(f"<h2>{task}</h2><div class=cards>")
        for row in rows:
            buffer = io.BytesIO()
            Image.fromarray(picture(row, pictures)).save(buffer, "PNG")
            said = "".join(f"<p class={kind}>{html.escape(text)}</p>" for kind, text in lines(row))
            parts.append(
                f'<div class=card><img alt="" src="data:image/png;base64,'
                f'{base64.b64encode(buffer.getvalue()).decode()}">{said}</div>'
            )
        parts.append("</div>")
    return "".join(parts)


def as_image(chosen: dict[str, list[dict[str, Any]]], pictures: Pictures, columns: int = 3) -> Image.Image:
    cards = [_card(row, pictures) for rows in chosen.values() for row in rows]
    shelves = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    height = sum(max(card.height for card in shelf) + GAP_PX for shelf in shelves)
    sheet, top = Image.new("RGB", (columns * (CARD_PX + GAP_PX), max(height, 1)), WHITE), 0
    for shelf in shelves:
        for at, card in enumerate(shelf):
            sheet.paste(card, (at * (CARD_PX + GAP_PX), top))
        top += max(card.height for card in shelf) + GAP_PX
    return sheet


def _card(row: dict[str, Any], pictures: Pictures) -> Image.Image:
    shown = Image.fromarray(picture(row, pictures))
    scale = min(CARD_PX / shown.width, PICTURE_PX / shown.height, 1)
    shown = shown.resize((round(shown.width * scale), round(shown.height * scale)))
    font, colours = typeface(FONT_PX), {"q": (11, 79, 179), "a": (22, 22, 26), "t": (110, 110, 116)}
    text = [(colours[kind], line) for kind, said in lines(row) for line in wrap(said, font, CARD_PX - 8)]
    card = Image.new("RGB", (CARD_PX, shown.height + 8 + len(text) * (FONT_PX + 5)), (250, 250, 247))
    card.paste(shown, (0, 0))
    pen = ImageDraw.Draw(card)
    for at, (colour, line) in enumerate(text):
        pen.text((4, shown.height + 4 + at * (FONT_PX + 5)), line, fill=colour, font=font)
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="OUT.html or OUT.png")
    parser.add_argument("--folder", type=Path, default=Path("data/annotated"))
    parser.add_argument("--task", choices=tasks.names())
    parser.add_argument("--split", choices=tables.SPLITS, default="train")
    parser.add_argument("--n", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pictures = Pictures(options.folder, options.split, ["regions"])
    wanted = [options.task] if options.task else list(tasks.names())
    chosen = {task: samples(options.folder, task, options.split, options.n, options.seed) for task in wanted}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.out.suffix == ".png":
        as_image(chosen, pictures).save(options.out)
    else:
        options.out.write_text(as_html(chosen, pictures), encoding="utf-8")
    print(f"{options.out}: {', '.join(f'{task} {len(rows)}' for task, rows in chosen.items())}")


if __name__ == "__main__":
    main()

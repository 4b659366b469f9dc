"""`reports/validation.html`: one page a person reads offline: the verdict, why, and what the data look like.

No script, no outside file, the same bytes for the same data; light or dark as the reader's system is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow.data.tables import SPLITS, TASKS
from iqaflow.validate import charts, examples, pictures
from iqaflow.validate.gate import Check
from iqaflow.validate.style import CSS
from iqaflow.validate.text import escape, number, plural

if TYPE_CHECKING:
    import pandas as pd

# nothing is loaded and nothing runs, whatever an answer contains
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
TABLES = {  # frame: title, and why it is looked at
    "columns": ("Columns", "A missing or mistyped column would stop training halfway, or worse, be ignored."),
    "tables": ("Tables", "An empty table would pass every other check."),
    "splits": ("Splits", "Without test and calibration images there is nothing to measure or calibrate with."),
    "photographs": ("Photographs", "A photograph seen in training makes every test figure on it worthless."),
    "images": ("Images", "Each picture is decoded to its last byte and compared with its row and its reference."),
    "distortions": ("Distortions", "What was done to an image is the truth that every answer rests on."),
    "regions": ("Regions", "Masks and boxes are the truth for pointing; they must fit the pixels exactly."),
    "conversations": ("Conversations", "Each question and answer must be complete, and say what its targets say."),
    "turns": ("Turns", "An empty or foreign turn would teach the model to be silent or to speak as someone else."),
    "conversation_images": (
        "Images in conversations",
        "A question must show images that exist, and only its own split's.",
    ),
    "answer_spans": ("Label words", "Confidence is read at these words, so they must lie inside the answer."),
    "target_categories": ("Target categories", "What an answer is scored by must be what was done to the image."),
    "target_levels": ("Target levels", "Severity is learnt from them."),
    "target_regions": ("Target regions", "A region that is asked for must exist in the image."),
    "target_boxes": ("Target boxes", "Boxes in answers are two cells of the 20x20 grid, top left and bottom right."),
    "categories": ("Class balance", "A category that is never seen in training cannot be learnt."),
}


def page(checks: list[Check], data: dict[str, pd.DataFrame], folder: Path) -> str:
    """The whole page. `data` are the frames that were judged; `folder` holds the pictures."""
    failed = [check for check in checks if not check.success]
    body = [_verdict(checks, failed, data)]
    if failed:
        body.append(_failures(failed, data, folder))
    if "splits" in data:
        body += [_splits(data), _balance(data)]
    body.append(_checks(checks, data))
    if "conversations" in data:
        body.append(examples.section(data, folder))
    body.append(
        "<footer>The same verdict for programs: <code>data/validation.json</code>. Great Expectations' own pages: "
        '<a href="data_docs/index.html">Data Docs</a> (their styling needs a network).</footer>'
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>iqaflow: data validation, {'failed' if failed else 'passed'}</title><style>{CSS}</style></head>"
        f"<body><main>\n{chr(10).join(body)}\n</main></body></html>\n"
    )


def _verdict(checks: list[Check], failed: list[Check], data: dict[str, pd.DataFrame]) -> str:
    held = f"{len(checks) - len(failed)} of {len(checks)}"
    if failed:
        mark, title = "✕", "This data must not be trained on"
        says = (f"{plural(len(failed), 'check')} of {len(checks)} failed. Fix the source or run "
                "<code>iqaflow annotate</code> again; the rows are named below.")
    else:
        mark, title = "✓", "This data may be trained on"
        says = f"All {len(checks)} checks hold for every row."
    tiles = [("checks hold", held)]
    if "images" in data:
        images = data["images"]
        tiles += [
            ("images", number(len(images))),
            ("photographs", number(images["source_id"].nunique())),
            ("conversations", number(len(data["conversations"]))),
            ("images decoded", number(images["decoded"].sum())),
        ]
    shown = "".join(f"<li><b>{value}</b><span>{name}</span></li>" for name, value in tiles)
    return (
        f'<header class="{"bad" if failed else "good"}"><span class="mark" aria-hidden="true">{mark}</span>'
        f'<div><p class="kicker">Data validation</p><h1>{title}</h1><p>{says}</p></div></header>'
        f'<ul class="tiles">{shown}</ul>'
    )


def _failures(failed: list[Check], data: dict[str, pd.DataFrame], folder: Path) -> str:
    lookup = _Lookup(data)
    wanted = {image for check in failed for row in check.rows if (image := lookup.image(row))}
    found = pictures.rows(folder, wanted) if "images" in data else {}
    thumbs = {image: pictures.thumbnail(found.get(image)) for image in wanted}
    cards = []
    for check in failed:
        count = f"{plural(check.unexpected_count, 'row')} of {number(len(data[check.table]))} in {check.table}"
        names = list(check.rows[0]) if check.rows else []
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        lines = []
        for row in check.rows:
            image = lookup.image(row)
            cells = "".join(f"<td>{escape('missing' if row[name] is None else row[name], 120)}</td>" for name in names)
            lines.append(
                f"<tr><td>{thumbs.get(image, '') if image else ''}</td>{cells}<td>{lookup.words(row)}</td></tr>"
            )
        more = check.unexpected_count - len(check.rows)
        rest = f'<p class="quiet">and {plural(more, "more row")}</p>' if more > 0 else ""
        cards.append(
            f'<article class="failure"><h3>{escape(check.says)}</h3><p class="quiet">Not so for {count} '
            f"(<code>{escape(check.column)}</code>, {escape(check.expectation)}).</p>"
            f'<div class="wide"><table><thead><tr><th></th>{head}<th></th></tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
            f"{rest}</article>"
        )
    return f"<section><h2>What failed</h2>{''.join(cards)}</section>"


class _Lookup:
    """From a failing row to the image and the words that belong to it."""

    def __init__(self, data: dict[str, pd.DataFrame]) -> None:
        self.image_of: dict[str, dict[Any, Any]] = {}
        self.turns: dict[Any, list[tuple[Any, Any]]] = {}
        if "images" not in data:
            return
        for key, frame in (("source_id", data["images"]), ("conversation_id", data["conversation_images"])):
            known = frame[frame["image_id"].notna()].drop_duplicates(key)
            self.image_of[key] = dict(zip(known[key], known["image_id"], strict=True))
        for turn in data["turns"].itertuples():
            self.turns.setdefault(turn.conversation_id, []).append((turn.role, turn.text))

    def image(self, row: dict[str, Any]) -> str | None:
        if row.get("image_id") is not None:
            return row["image_id"]
        return next((of[row[key]] for key, of in self.image_of.items() if row.get(key) in of), None)

    def words(self, row: dict[str, Any]) -> str:
        turns = self.turns.get(row.get("conversation_id"), [])[:2]
        return "".join(
            f'<span class="{"a" if role == "assistant" else "q"}">{escape(text, 160)}</span>' for role, text in turns
        )


def _splits(data: dict[str, pd.DataFrame]) -> str:
    nearest = data["photographs"]
    lines = []
    for row in data["splits"].itertuples():
        mine = nearest[[row.split in str(names).split(", ") for names in nearest["splits"]]]
        bits = mine["nearest_distance"].dropna()
        close = f"{bits.min():.0f} bits" if len(bits) else "–"
        lines.append(
            f'<tr><td><i class="key {row.split}"></i>{row.split}</td><td>{number(row.photographs)}</td>'
            f"<td>{number(row.images)}</td><td>{number(row.conversations)}</td><td>{close}</td></tr>"
        )
    return (
        "<section><h2>Splits</h2><p>Splits may share no photograph. The last column is how far the most similar "
        "photograph of another split is, by perceptual hash (64 bits; unrelated pictures differ in about 32).</p>"
        '<div class="wide"><table class="numbers"><thead><tr><th>split</th><th>photographs</th><th>images</th>'
        "<th>conversations</th><th>closest look-alike elsewhere</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _balance(data: dict[str, pd.DataFrame]) -> str:
    images, conversations, distortions = data["images"], data["conversations"], data["distortions"]
    by_category = [
        (row.category.replace("_", " "), [getattr(row, split) for split in SPLITS])
        for row in data["categories"].itertuples()
    ]
    by_task = [
        (task, [int(((conversations["task"] == task) & (conversations["split"] == split)).sum()) for split in SPLITS])
        for task in TASKS
    ]
    split = distortions["row_of_image"].map(images["split"])
    by_level = [
        (f"level {level}", [int(((distortions["level"].round() == level) & (split == name)).sum()) for name in SPLITS])
        for level in range(1, 6)
    ]
    by_extent = [
        (extent, [int(((images["extent"] == extent) & (images["split"] == name)).sum()) for name in SPLITS])
        for extent in ("clean", "global", "local")
    ]
    edges = np.linspace(0, 1, 21)
    scores = [np.histogram(images.loc[images["split"] == name, "score"].dropna(), bins=edges)[0] for name in SPLITS]
    histogram = charts.histogram(np.stack(scores, 1).tolist(), "0, ruined", "1, untouched", "images by score")
    key = " ".join(f'<span><i class="key {name}"></i>{name}</span>' for name in SPLITS)
    figures = [
        ("Images by category", charts.bars(by_category, "images by category")),
        ("Conversations by task", charts.bars(by_task, "conversations by task")),
        ("Images by score", histogram),
        (
            "Distortions by level, images by extent",
            charts.bars(by_level, "distortions by level") + charts.bars(by_extent, "images by extent"),
        ),
    ]
    shown = "".join(f"<figure><figcaption>{title}</figcaption>{chart}</figure>" for title, chart in figures)
    return f'<section><h2>Class balance</h2><p class="keys">{key}</p><div class="charts">{shown}</div></section>'


def _checks(checks: list[Check], data: dict[str, pd.DataFrame]) -> str:
    groups = []
    for table, (title, why) in TABLES.items():
        mine = [check for check in checks if check.table == table]
        if not mine:
            continue
        bad = sum(not check.success for check in mine)
        lines = "".join(
            f'<tr class="{"hold" if check.success else "broken"}"><td>{"✓" if check.success else "✕"}</td>'
            f"<td>{escape(check.says)}</td><td><code>{escape(check.column)}</code></td>"
            f"<td>{'' if check.success else plural(check.unexpected_count, 'row')}</td></tr>"
            for check in mine
        )
        held = "1 check holds" if len(mine) == 1 else f"{len(mine)} checks hold"
        state = f'<b class="broken">{bad} of {len(mine)} failed</b>' if bad else held
        groups.append(
            f"<details{' open' if bad else ''}><summary><b>{title}</b><span>{escape(why)}</span>"
            f"<em>{state} on {plural(len(data[table]), 'row')}</em></summary>"
            f'<table class="checks"><tbody>{lines}</tbody></table></details>'
        )
    return f"<section><h2>Every check</h2>{''.join(groups)}</section>"

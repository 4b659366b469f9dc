"""`reports/validation.html`: one page a person reads offline: the verdict, why, and what the data look like.

No script, no outside file, the same bytes for the same data; light or dark as the reader's system is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.validate.check import Check
from iqaflow.validate.remedies import remedy
from iqaflow.validate.report import examples, overview, thumbnails
from iqaflow.validate.report.style import CSS
from iqaflow.validate.report.text import escape, number, plural

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
    "categories": ("Class balance", "A category that is hardly seen in training is not learnt."),
    "choices": ("Choices", "A model that may always answer `Yes` learns to."),
    "phrases": ("Wordings", "One question over and over teaches the question, not the image."),
}


def page(checks: list[Check], data: dict[str, pd.DataFrame], folder: Path) -> str:
    """The whole page. `data` are the frames that were judged; `folder` holds the pictures."""
    failed = [check for check in checks if not check.success]
    body = [_verdict(checks, failed, data)]
    if failed:
        body.append(_failures(failed, data, folder))
    if "splits" in data:
        body += overview.sections(data)
    body.append(_checks(checks, data))
    if "conversations" in data:
        body.append(examples.section(data, folder))
    body.append(
        "<footer>The same verdict for programs: <code>data/validation.json</code>. Great Expectations' own pages: "
        '<a href="data_docs/index.html">Data Docs</a>.</footer>'
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
    lookup = _Lookup(data, failed)
    wanted = {image for check in failed for row in check.rows if (image := lookup.image(row))}
    found = thumbnails.rows(folder, wanted) if "images" in data else {}
    thumbs = {image: thumbnails.thumbnail(found.get(image)) for image in wanted}
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
            f'<article class="failure"><h3>{_code(check.says)}</h3><p class="quiet">Not so for {count} '
            f"(<code>{escape(check.column)}</code>, {escape(check.expectation)}). To do: "
            f"{_code(remedy(check.table, check.column))}.</p>"
            f'<div class="wide"><table><thead><tr><th></th>{head}<th></th></tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
            f"{rest}</article>"
        )
    return f"<section><h2>What failed</h2>{''.join(cards)}</section>"


def _code(text: str) -> str:
    """Text as HTML, with what stands in backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))


class _Lookup:
    """From a failing row to the image and the words that belong to it."""

    def __init__(self, data: dict[str, pd.DataFrame], failed: list[Check]) -> None:
        named = {row.get("conversation_id") for check in failed for row in check.rows}
        self.image_of: dict[str, dict[Any, Any]] = {}
        self.turns: dict[Any, list[tuple[Any, Any]]] = {}
        if "images" not in data:
            return
        for key, frame in (("source_id", data["images"]), ("conversation_id", data["conversation_images"])):
            known = frame[frame["image_id"].notna()].drop_duplicates(key)
            self.image_of[key] = dict(zip(known[key], known["image_id"], strict=True))
        turns = data["turns"][data["turns"]["conversation_id"].isin(named)]
        for turn in turns.itertuples():
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


def _checks(checks: list[Check], data: dict[str, pd.DataFrame]) -> str:
    groups = []
    for table, (title, why) in TABLES.items():
        mine = [check for check in checks if check.table == table]
        if not mine:
            continue
        bad = sum(not check.success for check in mine)
        lines = "".join(
            f'<tr class="{"hold" if check.success else "broken"}"><td>{"✓" if check.success else "✕"}</td>'
            f"<td>{_code(check.says)}</td><td><code>{escape(check.column)}</code></td>"
            f"<td>{'' if check.success else plural(check.unexpected_count, 'row')}</td></tr>"
            for check in mine
        )
        held = "1 check holds" if len(mine) == 1 else f"{len(mine)} checks hold"
        state = f'<b class="broken">{bad} of {len(mine)} failed</b>' if bad else held
        groups.append(
            f"<details{' open' if bad else ''}><summary><b>{title}</b><span>{_code(why)}</span>"
            f"<em>{state} on {plural(len(data[table]), 'row')}</em></summary>"
            f'<table class="checks"><tbody>{lines}</tbody></table></details>'
        )
    return f"<section><h2>Every check</h2>{''.join(groups)}</section>"

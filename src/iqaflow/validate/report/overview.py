"""The parts of the page that say what the data are: splits, where rows come from, balance, wordings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from iqaflow import tasks as known
from iqaflow.data.tables import ORIGINS, SPLITS
from iqaflow.validate.report import charts
from iqaflow.validate.report.text import escape, number

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 12  # licences and data sets listed


def sections(data: dict[str, pd.DataFrame]) -> list[str]:
    return [_splits(data), _provenance(data), _balance(data), _wordings(data)]


def _splits(data: dict[str, pd.DataFrame]) -> str:
    nearest = data["photographs"]
    lines = []
    for row in data["splits"].itertuples():
        mine = nearest[[row.split in str(names).split(", ") for names in nearest["splits"]]]
        bits = mine["nearest_distance"].dropna()
        lines.append([f'<i class="key {row.split}"></i>{row.split}', number(row.photographs), number(row.images),
                      number(row.conversations), f"{bits.min():.0f} bits" if len(bits) else "none near"])
    return (
        "<section><h2>Splits</h2><p>Splits may share no photograph. The last column is how far the most similar "
        "photograph of another split is, by perceptual hash (64 bits; unrelated pictures differ in about 32; more than 5 "
        f"is not looked at).</p>{_table(('split', 'photographs', 'images', 'conversations', 'closest elsewhere'), lines)}"
        "</section>"
    )


def _provenance(data: dict[str, pd.DataFrame]) -> str:
    images, conversations = data["images"], data["conversations"]
    asked = conversations.groupby(["origin", "dataset"], dropna=False).size()
    lines = []
    for (origin, dataset), mine in images.groupby(["origin", "dataset"], dropna=False):
        lines.append([escape(origin), escape(dataset, 40), number(mine["source_id"].nunique()), number(len(mine)),
                      number(int(asked.get((origin, dataset), 0))), number(mine["has_reference"].sum()),
                      number(mine["score"].notna().sum())])
    where = _table(("origin", "data set", "photographs", "images", "conversations", "with reference", "with score"), lines, 2)
    by_task = conversations.groupby(["origin", "task"]).size()
    kinds = [(origin, [int(by_task.get((origin, task), 0)) for task in known.names()]) for origin in ORIGINS]
    tasks = _table(("conversations", *known.names()),
                   [[origin, *map(number, counts)] for origin, counts in kinds if any(counts)])
    licences = images.fillna({"license": "missing"}).groupby("license").agg(
        images=("image_id", "size"), photographs=("source_id", "nunique"), origins=("source_origin", _first))
    licences = licences.sort_values(["images"], ascending=False, kind="stable")
    more = f'<p class="quiet">and {number(len(licences) - SHOWN)} more</p>' if len(licences) > SHOWN else ""
    rights = _table(("licence", "photographs", "images", "such as"),
                    [[escape(row.Index, 60), number(row.photographs), number(row.images), escape(row.origins, 70)]
                     for row in licences.head(SHOWN).itertuples()], last=True)
    return (f"<section><h2>Where the rows come from</h2><p>Synthetic rows have our own distortions and exact truth; authentic "
            f"ones people's region labels; grounded ones people's descriptions with boxes; imported ones are as they were.</p>"
            f"{where}{tasks}{rights}{more}</section>")


def _first(values: pd.Series) -> str:
    known = values.dropna()
    return str(known.min()) if len(known) else ""


def _balance(data: dict[str, pd.DataFrame]) -> str:
    images, conversations, distortions = data["images"], data["conversations"], data["distortions"]
    counts = data["categories"].pivot(index="category", columns="split", values="images")
    by_category = [(str(name).replace("_", " "), [int(counts.loc[name, split]) for split in SPLITS])
                   for name in dict.fromkeys(data["categories"]["category"])]
    by_task = [
        (task, [int(((conversations["task"] == task) & (conversations["split"] == split)).sum()) for split in SPLITS])
        for task in known.names()
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
        ("Images by category (synthetic)", charts.bars(by_category, "images by category")),
        ("Conversations by task", charts.bars(by_task, "conversations by task")),
        ("Images by score", histogram),
        ("Distortions by level, images by extent",
         charts.bars(by_level, "distortions by level") + charts.bars(by_extent, "images by extent")),
    ]
    shown = "".join(f"<figure><figcaption>{title}</figcaption>{chart}</figure>" for title, chart in figures)
    lines = [[f'<i class="key {row.split}"></i>{row.split}', escape(row.choice), number(row.questions), number(row.images),
              f"{row.share:.1%}", f"{row.low:.0%} to {row.high:.0%}"] for row in data["choices"].itertuples() if row.questions]
    either = _table(("split", "first choice", "questions", "about", "share", "may be"), lines, 2)
    return (f'<section><h2>Class balance</h2><p class="keys">{key}</p><div class="charts">{shown}</div>'
            f"<p>How often the first of two choices is right, and the bounds that only one set in a million would break by "
            f"chance.</p>{either}</section>")


def _wordings(data: dict[str, pd.DataFrame]) -> str:
    lines = [[row.task, number(row.questions), number(row.wordings), f"{row.top_share:.1%}", f"{row.repeated:.1%}",
              escape(row.wording, 90)]
             for row in data["phrases"].itertuples() if row.questions]
    table = _table(("task", "questions", "wordings", "most common", "repeated", "which is"), lines, last=True)
    return (f"<section><h2>Wordings</h2><p>Questions of the training split that the pipeline words itself, with regions and "
            f"distortions taken out; a repeated row has the same images, question and answer as an earlier one.</p>{table}"
            f"</section>")


def _table(head: tuple[str, ...], lines: list[list[str]], words: int = 1, last: bool = False) -> str:
    """A table of numbers whose first columns are words, and perhaps the `last`; cells are HTML."""

    def row(cells: Sequence[str], kind: str) -> str:
        text = [place < words or (last and place == len(cells) - 1) for place in range(len(cells))]
        return "".join(f'<{kind}{" class=words" if mark else ""}>{cell}</{kind}>' for cell, mark in zip(cells, text, strict=True))

    titles, body = row(head, "th"), "".join(f"<tr>{row(line, 'td')}</tr>" for line in lines)
    return f'<div class="wide"><table class="numbers"><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'

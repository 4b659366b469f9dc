"""What the data are: splits, where rows come from, balance, wordings; rows of tables and charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow import tasks
from iqaflow.data.tables import ORIGINS, SPLITS
from iqaflow.draw.html import charts
from iqaflow.draw.html.text import number, short

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

SHOWN = 12  # licences and data sets listed


def summary(data: dict[str, pd.DataFrame]) -> dict[str, Any]:
    licences = _licences(data["images"])
    return {
        "splits": _splits(data),
        "origins": _origins(data),
        "tasks": tasks.names(),
        "by_task": _by_task(data["conversations"]),
        "licences": licences[:SHOWN],
        "more_licences": len(licences) - SHOWN,
        "charts": _charts(data),
        "choices": _choices(data["choices"]),
        "wordings": _wordings(data["phrases"]),
    }


def _splits(data: dict[str, pd.DataFrame]) -> list[list[str]]:
    nearest = data["photographs"]
    lines = []
    for row in data["splits"].itertuples():
        mine = nearest[[row.split in str(names).split(", ") for names in nearest["splits"]]]
        bits = mine["nearest_distance"].dropna()
        lines.append(
            [
                row.split,
                number(row.photographs),
                number(row.images),
                number(row.conversations),
                f"{bits.min():.0f} bits" if len(bits) else "none near",
            ]
        )
    return lines


def _origins(data: dict[str, pd.DataFrame]) -> list[list[str]]:
    conversation_counts = data["conversations"].groupby(["origin", "dataset"], dropna=False).size()
    return [
        [
            short(origin),
            short(dataset, 40),
            number(mine["source_id"].nunique()),
            number(len(mine)),
            number(int(conversation_counts.get((origin, dataset), 0))),
            number(mine["has_reference"].sum()),
            number(mine["score"].notna().sum()),
        ]
        for (origin, dataset), mine in data["images"].groupby(["origin", "dataset"], dropna=False)
    ]


def _by_task(conversations: pd.DataFrame) -> list[list[str]]:
    by_task = conversations.groupby(["origin", "task"]).size()
    counts = {origin: [int(by_task.get((origin, task), 0)) for task in tasks.names()] for origin in ORIGINS}
    return [[origin, *map(number, row)] for origin, row in counts.items() if any(row)]


def _licences(images: pd.DataFrame) -> list[list[str]]:
    """Licence, photographs, images, a source; the commonest first."""
    licences = (
        images.fillna({"license": "missing"})
        .groupby("license")
        .agg(images=("image_id", "size"), photographs=("source_id", "nunique"), origins=("source_origin", _first))
    )
    licences = licences.sort_values(["images"], ascending=False, kind="stable")
    return [
        [short(row.Index, 60), number(row.photographs), number(row.images), short(row.origins, 70)]
        for row in licences.itertuples()
    ]


def _first(values: pd.Series) -> str:
    known = values.dropna()
    return str(known.min()) if len(known) else ""


def _charts(data: dict[str, pd.DataFrame]) -> list[tuple[str, list[Markup]]]:
    """Title and drawings."""
    images, conversations, distortions = data["images"], data["conversations"], data["distortions"]
    counts = data["categories"].pivot(index="category", columns="split", values="images")
    by_category = [
        (str(name).replace("_", " "), [int(counts.loc[name, split]) for split in SPLITS])
        for name in dict.fromkeys(data["categories"]["category"])
    ]
    by_task = [
        (task, [int(((conversations["task"] == task) & (conversations["split"] == split)).sum()) for split in SPLITS])
        for task in tasks.names()
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
    return [
        ("Images by category (synthetic)", [charts.count_bars(by_category, "images by category")]),
        ("Conversations by task", [charts.count_bars(by_task, "conversations by task")]),
        ("Images by score", [histogram]),
        (
            "Distortions by level, images by extent",
            [charts.count_bars(by_level, "distortions by level"), charts.count_bars(by_extent, "images by extent")],
        ),
    ]


def _choices(choices: pd.DataFrame) -> list[list[str]]:
    return [
        [
            row.split,
            short(row.choice),
            number(row.questions),
            number(row.images),
            f"{row.share:.1%}",
            f"{row.low:.0%} to {row.high:.0%}",
        ]
        for row in choices.itertuples()
        if row.questions
    ]


def _wordings(phrases: pd.DataFrame) -> list[list[str]]:
    return [
        [
            row.task,
            number(row.questions),
            number(row.wordings),
            f"{row.top_share:.1%}",
            f"{row.repeated:.1%}",
            short(row.wording, 90),
        ]
        for row in phrases.itertuples()
        if row.questions
    ]

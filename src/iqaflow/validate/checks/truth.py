"""Whether targets are what the images table says: the better image by score, the rating word by score, and the region of a
question by its kind (`worst_blur` needs blur there, `order_A_B` A before B).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from iqaflow import tasks
from iqaflow.validate.checks import flatten
from iqaflow.validate.checks.balance import OURS

if TYPE_CHECKING:
    import pandas as pd

EXTREMES = ("worst", "best")  # overall, or `worst_CATEGORY`: the most of it
ORDERS = ("order", "first", "last")  # `order_A_B`, `first_A`, `last_A`: distortions in the order they were applied
CLOSE = 1e-4  # scores are stored with seven digits


def better(conversations: pd.DataFrame) -> np.ndarray:
    """For each conversation null, or what is wrong with its better image: a comparison of ours has one, nothing else has."""
    given = conversations["better"].notna().to_numpy()
    pair = conversations["task"].isin([task.name for task in tasks.pairs()]).to_numpy(bool)
    ours = conversations["origin"].isin(OURS).to_numpy(bool)
    return flatten.first_fault(
        [pair & ours & ~given, ~pair & given], ["no better image is given", "only a comparison has a better image"]
    )


def better_by_score(conversations: pd.DataFrame) -> np.ndarray:
    """The image of a comparison of ours whose score is higher; null where that cannot be said."""
    a, b = (conversations[f"score_{name}"].to_numpy(float) for name in "ab")
    known = conversations["origin"].isin(OURS).to_numpy(bool) & (conversations["task"] == "rate").to_numpy(bool)
    return flatten.first_fault([known & (a > b + CLOSE), known & (b > a + CLOSE)], ["Image A", "Image B"])


def ratings(conversations: pd.DataFrame, areas: pd.DataFrame) -> np.ndarray:
    """For each answer of `score` of ours null, or how its word differs from the score of the image or the region."""
    from iqaflow.tasks.grammar import RATINGS

    faults = np.full(len(conversations), None, dtype=object)
    rows = np.flatnonzero((conversations["task"] == "score").to_numpy(bool) & conversations["origin"].isin(OURS).to_numpy(bool))
    if not len(rows):
        return faults
    scores = _scores(areas)
    mine = conversations.iloc[rows]
    columns = (mine[name].to_numpy(dtype=object) for name in ("about", "kind", "target_regions", "score_image", "answer"))
    for row, image, kind, regions, score, answer in zip(rows, *columns, strict=True):
        value = scores.get((image, str(regions))) if kind == "region" else score
        word = str(answer).strip().lower()
        if value is None or value != value or word not in RATINGS:
            continue
        # half a step either way, and a little for rounding
        if abs(RATINGS.index(word) / (len(RATINGS) - 1) - value) > 0.5 / (len(RATINGS) - 1) + CLOSE:
            faults[row] = f"says {word}, the score is {value:.3f}"
    return faults


def kinds(conversations: pd.DataFrame, distortions: pd.DataFrame, areas: pd.DataFrame) -> np.ndarray:
    """For each conversation null, or how its one target region contradicts `kind`."""
    faults = np.full(len(conversations), None, dtype=object)
    named = conversations["kind"].fillna("").astype(object).to_numpy()
    rows = [
        row
        for row in np.flatnonzero((conversations["task"] == "ground").to_numpy(bool))
        if str(named[row]).partition("_")[0] in {*EXTREMES, *ORDERS}
    ]
    if not rows:
        return faults
    applied, scores = _applied(distortions), _scores(areas)
    faulty: dict[str, list[float]] = {}
    for (image, region), value in scores.items():
        if (image, region) in applied:
            faulty.setdefault(image, []).append(value)
    images, targets = conversations["about"].to_numpy(dtype=object), conversations["target_regions"].to_numpy(dtype=object)
    for row in rows:
        image, regions = images[row], str(targets[row] or "").split()
        there = [applied.get((image, region), ()) for region in regions]
        faults[row] = kind_fault(named[row], there or [applied.get((image, None), ())]) or _rank_fault(
            named[row], [scores.get((image, region)) for region in regions], faulty.get(image, [])
        )
    return faults


def kind_fault(kind: str, regions: list[tuple[str, ...]]) -> str | None:
    """Null, or why no region fits: `regions` are the category ids of each target region, in the order applied."""
    head, _, rest = kind.partition("_")
    shown = "; ".join(" then ".join(categories) or "nothing" for categories in regions)
    for categories in regions:
        if head in EXTREMES and rest and rest not in categories:
            return f"{kind}: the region has {shown}"
        if head in ORDERS:
            if len(categories) < 2:
                return f"{kind}: a region with fewer than two distortions has no order, it has {shown}"
            right = {"order": "_".join(categories), "first": categories[0], "last": categories[-1]}[head]
            if rest != right:
                return f"{kind}: the region has {shown}"
    return None


def _rank_fault(kind: str, targets: list[float | None], scores: list[float]) -> str | None:
    """The worst region has the lowest score of the distorted ones, the best the highest."""
    if kind not in EXTREMES or not scores or any(value is None or value != value for value in (*targets, *scores)):
        return None
    extreme = min(scores) if kind == "worst" else max(scores)
    wrong = [value for value in targets if value is not None and abs(value - extreme) > CLOSE]
    return f"{kind}: the region's score is {wrong[0]:.3f}, the {kind} is {extreme:.3f}" if wrong else None


def _scores(areas: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Scores by image and region (as text)."""
    kept = areas[areas["region_id"].notna()]
    return dict(zip(zip(kept["image_id"], kept["region_id"].astype(int).astype(str), strict=True), kept["score"], strict=True))


def _applied(distortions: pd.DataFrame) -> dict[tuple[str, str | None], tuple[str, ...]]:
    """Categories in the order applied, by image and region (as text; None for the whole image)."""
    kept = distortions.sort_values(["row_of_image", "order"], kind="stable")
    orders: dict[tuple[str, str | None], list[str]] = {}
    for image, region, category in zip(kept["image_id"], kept["region_id"], kept["category"], strict=True):
        orders.setdefault((image, None if region != region else str(int(region))), []).append(str(category))
    return {key: tuple(categories) for key, categories in orders.items()}

"""Pictures with what was said about them: grounding overlays and the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from iqaflow.data.images import decode
from iqaflow.data.masks import decode_mask
from iqaflow.draw.html import pictures
from iqaflow.draw.text import recipe
from iqaflow.grounding.examples import evenly

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


def overlay(answer: Row, item: Row | None) -> Row:
    """One grounded answer (a row of `grounding.examples`): the true region's outline, the predicted mask and point, the text, IoU
    and hit.
    """
    height, width = decode(answer["image"]).shape[:2]
    masks = [
        (kind, decode_mask(answer[key]))
        for key, kind in (("pred_mask_rle", "guess"), ("true_mask_rle", "truth"))
        if answer.get(key)
    ]
    point = tuple(answer["points"][0]) if answer["points"] else None
    measured = ""
    if item is not None and item["value"] == item["value"]:
        measured = f"IoU {item['value']:.2f}{({1.0: ', point in', 0.0: ', point out'}).get(item['hit'], '')}"
    return {
        "picture": pictures.overlay(answer["image"], height, width, masks, "grounding overlay", point),
        "measured": measured,
        "question": item["target"].replace("_", " ") if item is not None else "",
        "answer": answer.get("text"),
    }


def overlays(grounded: Sequence[Row], ground: pd.DataFrame, count: int = 12) -> list[Row]:
    """Overlays of `count` answers, evenly from the best IoU to the worst, so that the choice flatters nobody."""
    items = {row["item_id"]: row for row in ground.to_dict("records")}
    known = [answer for answer in grounded if items.get(answer["item_id"], {}).get("cell") != "whole"]
    known.sort(key=lambda answer: (-_iou(items.get(answer["item_id"])), answer["item_id"]))
    return [overlay(answer, items.get(answer["item_id"])) for answer in evenly(known, count)]


def mistakes(rows: Sequence[Row], images: dict[str, Row]) -> list[Row]:
    """Pictures of items with the truth and the answer."""
    figures = []
    for row in rows:
        image = images[row["image_id"]]
        sure = f", confidence {row['confidence']:.2f}" if row["confidence"] == row["confidence"] else ""
        distorted = " and ".join(recipe(image)) or "clean"
        if row["family"] == "score":
            answer, truth = f"scored {row['value']:.2f}", f"truth {row['target_value']:.2f}: {distorted}"
        else:
            answer, truth = f"said {row['prediction']}{sure}", f"is {distorted}"
        figures.append(
            {
                "url": pictures.data_url(image["image"]),
                "width": image["width"],
                "height": image["height"],
                "answer": answer,
                "truth": truth,
            }
        )
    return figures


def _iou(item: Row | None) -> float:
    return item["value"] if item is not None and item["value"] == item["value"] else -1.0

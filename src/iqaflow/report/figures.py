"""Pictures with what was said about them: grounding overlays and the worst mistakes, as HTML figures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from iqaflow.draw.html.charts import number, tag

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Row = dict[str, Any]


def data_url(data: bytes) -> str:
    """Image bytes as a `data:` URL (PNG unless the bytes say JPEG)."""
    kind = "jpeg" if data[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def outline(mask: np.ndarray) -> str:
    """SVG path around a bool mask (H, W), along pixel edges and with its holes."""
    import cv2
    import numpy as np

    # at four times the size the contour runs within an eighth of a pixel of the true edge
    large = cv2.resize(np.pad(mask.astype(np.uint8), 1), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = (contour[:, 0, :] + 0.5) / 4 - 1
        parts.append("M" + "L".join(f"{number(float(x))} {number(float(y))}" for x, y in points) + "z")
    return "".join(parts)


def overlay(answer: Row, item: Row | None) -> str:
    """One grounded answer: the true region's outline, the predicted mask and point, the text, IoU and hit.

    `answer` is a row of `grounding.examples`.
    """
    from iqaflow.data.images import decode
    from iqaflow.data.tables import decode_mask

    height, width = decode(answer["image"]).shape[:2]
    parts = [tag("image", href=data_url(answer["image"]), width=width, height=height)]
    for key, kind in (("pred_mask_rle", "guess"), ("true_mask_rle", "truth")):
        if answer.get(key):
            path = outline(decode_mask(answer[key]))
            if path and kind == "guess":
                parts.append(tag("path", d=path, class_="guess", fill_rule="evenodd"))
            elif path:
                parts.append(tag("path", d=path, class_="halo") + tag("path", d=path, class_="truth"))
    if answer["points"]:
        x, y = answer["points"][0]
        parts.append(tag("circle", cx=x, cy=y, r=4.0, class_="halo") + tag("circle", cx=x, cy=y, r=4.0, class_="point"))
    said = escape(str(answer.get("text") or ""))
    value = hit = ""
    if item is not None and item["value"] == item["value"]:
        value = f"IoU {item['value']:.2f}"
        hit = {1.0: ", point in", 0.0: ", point out"}.get(item["hit"], "")
    question = f"<b>{escape(item['target'].replace('_', ' '))}</b> " if item is not None else ""
    picture = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="grounding overlay">{"".join(parts)}</svg>'
    words = f'{question}{value}{hit}<br><span class="quiet">{said}</span>'
    return f"<figure>{picture}<figcaption>{words}</figcaption></figure>"


def overlays(grounded: Sequence[Row], ground: pd.DataFrame, count: int = 12) -> str:
    """Overlays of `count` answers, evenly from the best IoU to the worst, so that the choice flatters nobody."""
    items = {row["item_id"]: row for row in ground.to_dict("records")}
    known = [answer for answer in grounded if items.get(answer["item_id"], {}).get("cell") != "whole"]
    known.sort(key=lambda answer: (-_iou(items.get(answer["item_id"])), answer["item_id"]))
    chosen = _evenly(known, count)
    return "".join(overlay(answer, items.get(answer["item_id"])) for answer in chosen)


def mistakes(rows: Sequence[Row], images: dict[str, Row]) -> str:
    """Pictures of items with the truth and the answer."""
    figures = []
    for row in rows:
        image = images[row["image_id"]]
        sure = f", confidence {row['confidence']:.2f}" if row["confidence"] == row["confidence"] else ""
        if row["family"] == "score":
            said, truth = f"scored {row['value']:.2f}", f"truth {row['target_value']:.2f}: {made_of(image)}"
        else:
            said, truth = f"said {row['prediction']}{sure}", f"is {made_of(image)}"
        figures.append(
            f'<figure><img src="{data_url(image["image"])}" width="{image["width"]}" height="{image["height"]}" '
            f'alt="{escape(truth)}"><figcaption><b>{escape(said)}</b><br><span class="quiet">{escape(truth)}</span>'
            "</figcaption></figure>"
        )
    return "".join(figures)


def made_of(image: Row) -> str:
    """What was done to an image, in words: `moderate blur in a region`."""
    from iqaflow.distortions import phrase

    parts = []
    for entry in image["distortions"]:
        where = "" if entry["region_id"] is None else " in a region"
        parts.append(f"{entry['severity']} {phrase(entry['category'])}{where}")
    return " and ".join(parts) or "clean"


def _iou(item: Row | None) -> float:
    return item["value"] if item is not None and item["value"] == item["value"] else -1.0


def _evenly(items: list[Any], count: int) -> list[Any]:
    if len(items) <= count:
        return items
    return [items[round(k * (len(items) - 1) / (count - 1))] for k in range(count)]

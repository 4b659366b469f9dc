"""The model's answer to every benchmark item, and the argmax-word baseline that uses the same logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow.benchmark.items import Answer
from iqaflow.core.config import Config
from iqaflow.data.masks import contains, decode_mask, iou
from iqaflow.grounding import examples
from iqaflow.tasks import grammar

Row = dict[str, Any]
EXAMPLES = 60  # kept for the report


def predict(assessor: Any, images: Sequence[Row], conversations: Sequence[Row], config: Config) -> tuple[list[Answer], list[Row]]:
    """Answer rows (see `items.grade`) of the predictors `model` and `argmax_words`, and grounded examples for the
    report.

    `assessor` is a loaded model with its calibration (`infer.assessor`).
    """
    from iqaflow.engine.answers import in_set, read

    by_id = {row["image_id"]: row for row in images}
    rows: list[Answer] = []
    grounded: list[Row] = []
    for reading in read(assessor.engine, images, conversations):
        if reading.spatial is not None:
            rows += _place(assessor, reading, by_id, grounded)
        elif reading.log_probs is not None:
            probabilities = assessor.probabilities(reading.kind, reading.log_probs)
            best = int(np.argmax(probabilities))
            sure = float(probabilities[best])
            if reading.kind == "identify_two":
                sure = in_set(probabilities, reading.candidates, best)
            row: Answer = {
                "family": reading.task,
                "item_id": reading.item_id,
                "prediction": reading.candidates[best],
                "confidence": sure,
            }
            if reading.task == "score":
                row["value"] = assessor.expected_score(probabilities)
            rows.append(row)
        else:
            rows.append(
                {"family": reading.task, "item_id": reading.item_id, "prediction": reading.text, "confidence": reading.sure}
            )
    return rows, grounded


def _place(assessor: Any, reading: Any, by_id: dict[str, Row], grounded: list[Row]) -> list[Answer]:
    from iqaflow.data.images import decode

    targets = reading.conversation["targets"]
    image_row = by_id[reading.conversation["image_ids"][-1]["image_id"]]
    image = decode(image_row["image"])
    shape = image.shape[:2]
    regions = {region["region_id"]: region for region in image_row["regions"]}
    whole = not len(targets["region_ids"])
    truth = np.ones(shape, bool) if whole else decode_mask(regions[targets["region_ids"][0]]["mask_rle"])
    place = assessor.ground(image, reading.spatial)
    text = grammar.WHOLE if place.whole else f"{reading.label}"
    rows = [_row(reading, truth, place.mask, place.points[0], text, place.confidence)]
    # the words alone, no distribution: the quadrant the two most likely words name
    vertical, horizontal = (int(np.argmax(side)) for side in (reading.spatial.vertical, reading.spatial.horizontal))
    quadrant = np.zeros(shape, bool)
    half = shape[0] // 2, shape[1] // 2
    rows_of = slice(half[0], None) if vertical else slice(half[0])
    columns_of = slice(half[1], None) if horizontal else slice(half[1])
    quadrant[rows_of, columns_of] = True
    centre = (0.25 + 0.5 * horizontal) * shape[1], (0.25 + 0.5 * vertical) * shape[0]
    words = f"{grammar.VERTICAL[vertical]} {grammar.HORIZONTAL[horizontal]}"
    rows.append({**_row(reading, truth, quadrant, centre, words, None), "predictor": "argmax_words"})
    if len(grounded) < EXAMPLES and not whole:
        grounded.append(
            examples.example(
                image_row["image"], truth, place, f"{reading.conversation['turns'][0]['text']} {words}: {text}", reading.item_id
            )
        )
    return rows


def _row(
    reading: Any, truth: np.ndarray, mask: np.ndarray, point: tuple[float, float], text: str, confidence: float | None
) -> Answer:
    return {
        "family": "ground",
        "item_id": reading.item_id,
        "prediction": text,
        "confidence": confidence,
        "value": iou(mask, truth),
        "hit": float(contains(truth, point)),
    }

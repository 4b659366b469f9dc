"""Ask the trained model the questions of the calibration split: what stage two is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core.config import Config
from iqaflow.data.images import decode
from iqaflow.data.masks import decode_mask
from iqaflow.grounding.item import Item
from iqaflow.tasks import grammar
from iqaflow.tasks import score as rating
from iqaflow.tasks.grading import items

Row = dict[str, Any]


def ask(folder: Path, images: Sequence[Row], conversations: Sequence[Row], config: Config) -> Any:
    """What stage two is fitted to: grounding items and, per task, (log_probs, index of the true candidate)."""
    from iqaflow.engine.answers import calibrated_set, read
    from iqaflow.engine.session import Engine
    from iqaflow.grounding.item import Item

    chosen = items.select(images, config.calibrate.max_items)
    by_id = {row["image_id"]: row for row in chosen}
    engine = Engine.load(folder)
    vocabulary = engine.vocabulary
    wanted = [
        row
        for row in items.truth(chosen, conversations, config)[1]
        if vocabulary.covers(row) and (row["task"] == "ground" or calibrated_set(row, vocabulary))
    ]
    grounds: list[Item] = []
    answers: dict[str, list[tuple[np.ndarray, int]]] = {}
    for reading in read(engine, chosen, wanted, calibrated_set):
        if reading.spatial is not None and reading.conversation is not None:
            row = by_id[reading.conversation["image_ids"][-1]["image_id"]]
            regions = {region["region_id"]: region for region in row["regions"]}
            targets = reading.conversation["targets"]
            whole = not len(targets["region_ids"])
            shape = row["height"], row["width"]
            mask = np.ones(shape, bool) if whole else decode_mask(regions[targets["region_ids"][0]]["mask_rle"])
            grounds.append(Item(decode(row["image"]), mask, reading.spatial, whole, targets["kind"]))
        elif reading.log_probs is not None:
            if reading.conversation is None:
                truth = rating.word(by_id[reading.item_id]["score"])
            else:
                truth = reading.conversation["turns"][-1]["text"]
                if reading.kind == "identify_two":
                    truth = grammar.identification(sorted(reading.conversation["targets"]["categories"]))
            if truth in reading.candidates:
                logs, at = reading.log_probs, reading.candidates.index(truth)
                if reading.task == "refer":
                    logs, at = vocabulary.by_category(logs), at // len(vocabulary.severities)
                answers.setdefault(reading.kind, []).append((logs, at))
    return grounds, answers

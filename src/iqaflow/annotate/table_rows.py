"""What the rows of the synthetic and of the labelled branch have in common: regions, and questions with their answers."""

from __future__ import annotations

import numpy as np

from iqaflow.data.masks import encode_mask
from iqaflow.data.rows import ConversationRow, Origin, RegionRow, Split, Targets
from iqaflow.tasks.scene import Area, Exchange


def region_row(area: Area) -> RegionRow:
    return {
        "region_id": area.region,
        "label": area.label,
        "box_xyxy": list(map(float, area.box)),
        "mask_rle": encode_mask(area.mask),
        "area": np.count_nonzero(area.mask) / area.mask.size,
        "score": known_score(area.score),
    }


def conversation_row(
    exchange: Exchange,
    conversation_id: str,
    roles: list[tuple[str, str]],
    *,
    origin: Origin,
    dataset: str,
    reference_mode: str,
    spans: list[list[int]],
    teacher: str,
    confidence: float | None,
    split: Split,
) -> ConversationRow:
    """An exchange about images, (role, image id) each in the order they are shown; `spans` are those of its label words."""
    return {
        "conversation_id": conversation_id,
        "origin": origin,
        "dataset": dataset,
        "image_ids": [{"role": role, "image_id": image_id} for role, image_id in roles],
        "task": exchange.task,
        "style": exchange.style,
        "reference_mode": reference_mode,
        "turns": [{"role": "user", "text": exchange.question}, {"role": "assistant", "text": exchange.answer}],
        "answer_spans": spans,
        "targets": _targets(exchange),
        "teacher": teacher,
        "teacher_confidence": confidence,
        "split": split,
    }


def _targets(exchange: Exchange) -> Targets:
    targets = exchange.targets
    return {
        "categories": list(targets.categories),
        "levels": list(targets.levels),
        "region_ids": list(targets.region_ids),
        "boxes_cells": [list(cells) for cells in targets.boxes_cells],
        "better": targets.better,
        "kind": targets.kind,
    }


def known_score(score: float) -> float | None:
    """A score as it is stored: None where nobody knows it (NaN)."""
    return None if np.isnan(score) else score

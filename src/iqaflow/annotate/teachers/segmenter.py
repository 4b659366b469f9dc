"""Boxes made into masks by the SAM or SAM 2 that `annotate.sam` names; without one a mask is its box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iqaflow.core.config.schema import Segmenter
from iqaflow.core.workspace import Workspace
from iqaflow.model import promptable


def masks(
    image: np.ndarray, boxes: Sequence[tuple[int, int, int, int]], config: Segmenter, workspace: Workspace
) -> list[np.ndarray]:
    """Boolean masks (H, W) of what fills each box (x0, y0, x1, y1) of a uint8 RGB image (H, W, 3): inside its box, never
    empty. Raises StageError if the model cannot be loaded.
    """
    insides = []
    for x0, y0, x1, y1 in boxes:
        inside = np.zeros(image.shape[:2], bool)
        inside[y0:y1, x0:x1] = True
        insides.append(inside)
    if not config.model or not boxes:
        return insides
    filled = (mask & inside for mask, inside in zip(_trusted(image, boxes, config, workspace), insides, strict=True))
    return [mask if mask.any() else inside for mask, inside in zip(filled, insides, strict=True)]


def _trusted(
    image: np.ndarray, boxes: Sequence[tuple[int, int, int, int]], config: Segmenter, workspace: Workspace
) -> list[np.ndarray]:
    """The mask the model trusts most for every box."""
    import cv2

    logits, scores = promptable.see(image, config, workspace).ask(boxes=np.array(boxes))
    best = (masks[at] for masks, at in zip(logits, scores.argmax(1), strict=True))
    return [cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0 for mask in best]

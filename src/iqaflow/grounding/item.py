"""A question of place with its truth: what calibration is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from iqaflow.grounding.text_to_point import Spatial


@dataclass(frozen=True)
class Item:
    """One grounding question: uint8 RGB image (H, W, 3), true mask (H, W) bool, the model's logits, whether the flaw
    is global, and the sub-task (`worst`, `best`, `worst_blur`, ...).
    """

    image: np.ndarray
    true_mask: np.ndarray
    spatial: Spatial
    whole_truth: bool
    kind: str

    @property
    def size(self) -> tuple[int, int]:
        return self.true_mask.shape

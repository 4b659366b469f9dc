"""The lens: what each visual token says when it is read through the language model's own word embeddings.

A base made with the dense read-out (`train.dense`) names the distortion under every visual token, before a word is decoded.
For the question "where is the noise strongest?" the chance of `noise` over the image is a map. A base that splits its
category phrases into several tokens, or was made without the dense read-out, has no lens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow import distortions
from iqaflow.tasks import grammar

LEAST = ("least", "weakest", "best")


class Lens:
    """Distortion chances per visual token of the images of a session."""

    def __init__(self, chances: Sequence[np.ndarray], severities: Sequence[np.ndarray]) -> None:
        self.chances, self.severities = chances, severities

    @classmethod
    def of(cls, engine: Any, visual: Sequence[Any], grids: Sequence[Any]) -> Lens | None:
        """The lens of images with visual tokens (N, width) on grids (rows, columns), or None if the model has none."""
        import torch

        if engine.lens_ids is None:
            return None
        weight = engine.model.get_input_embeddings().weight
        chances, severities = [], []
        with torch.inference_mode():
            for tokens, grid in zip(visual, grids, strict=True):
                shape = int(grid[0]), int(grid[1])
                for key, out in (("category", chances), ("severity", severities)):
                    read = (tokens @ weight[engine.lens_ids[key]].T).float().softmax(-1)
                    out.append(read.cpu().numpy().reshape(*shape, -1))
        return cls(chances, severities)

    def map(self, item: int, question: str) -> np.ndarray:
        """How much each cell of the grid (20, 20) suffers from what the question names, or from anything: the chance times
        the expected level, or, where the question asks for the least, times what the level lacks of the worst."""
        import cv2

        chances = self.chances[item]
        named = [sorted(distortions.categories()).index(name) + 1 for name in grammar.parse(question).categories]
        share = chances[..., named].sum(-1) if named else 1.0 - chances[..., 0]
        level = self.severities[item] @ np.arange(1, 6, dtype=np.float32) / 5.0
        if any(word in question.lower() for word in LEAST):
            level = 1.2 - level
        return cv2.resize((share * level).astype(np.float32), (grammar.GRID, grammar.GRID), interpolation=cv2.INTER_LINEAR)

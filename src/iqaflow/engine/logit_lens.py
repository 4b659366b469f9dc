"""The lens: what each visual token says when it is read through the language model's own word embeddings.

A base made with the dense read-out (`train.dense`) names the distortion under every visual token, before a word is decoded.
For the question "where is the noise strongest?" the chance of `noise` over the image is a map. A base that splits its
category phrases into several tokens, or was made without the dense read-out, has no lens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow.tasks import grammar
from iqaflow.tasks.vocabulary import Vocabulary

TINY = 1e-6
LEAST = ("least", "weakest", "best")
FIRST = ("first", "begin", "before")


class Lens:
    """Distortion chances per visual token of the images of a session, in the order of the model's vocabulary."""

    def __init__(self, chances: Sequence[np.ndarray], severities: Sequence[np.ndarray], vocabulary: Vocabulary) -> None:
        self.chances, self.severities, self.vocabulary = chances, severities, vocabulary

    @classmethod
    def of(cls, engine: Any, visual: Sequence[Any], grids: Sequence[Any]) -> Lens | None:
        """The lens of images with visual tokens (N, width) on grids (rows, columns), or None if the model has none."""
        import torch

        if engine.lens_ids is None:
            return None
        weight = engine.model.get_input_embeddings().weight
        chances: list[np.ndarray] = []
        severities: list[np.ndarray] = []
        with torch.inference_mode():
            for tokens, grid in zip(visual, grids, strict=True):
                shape = int(grid[0]), int(grid[1])
                for key, out in (("category", chances), ("severity", severities)):
                    read = (tokens @ weight[engine.lens_ids[key]].T).float().softmax(-1)
                    out.append(read.cpu().numpy().reshape(*shape, -1))
        return cls(chances, severities, engine.vocabulary)

    def map(self, item: int, question: str) -> np.ndarray:
        """How much each part of an image suffers from what the question names, or from anything: the chance times the expected
        level, or, where the question asks for the least, times what the level lacks of the worst. The map has a cell for every
        visual token, and no fewer than the grid of the answers.

        A place with two distortions has both, so their chances meet in a geometric mean: of the two that are named, or, for
        "where did the blur come first?", of the blur and anything else.
        """
        import cv2

        chances, words, known = self.chances[item], set(re.findall(r"[a-z]+", question.lower())), self.vocabulary
        named = [known.ids.index(name) + 1 for name in grammar.parse(question, known.phrases).categories]
        share = 1.0 - chances[..., 0]
        if len(named) > 1:
            share = np.exp(np.log(chances[..., named] + TINY).mean(-1))
        elif named and words & set(FIRST):
            only = chances[..., named[0]]
            share = np.sqrt(only * np.maximum(share - only, 0.0))
        elif named:
            share = chances[..., named[0]]
        steps = len(known.severities)
        level = self.severities[item] @ np.arange(1, steps + 1, dtype=np.float32) / float(steps)
        values = (share * (1.2 - level if words & set(LEAST) else level)).astype(np.float32)
        rows, columns = (max(known.grid, side) for side in values.shape)
        return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR)

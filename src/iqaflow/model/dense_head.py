"""Dense read-out of visual tokens, used while a base is made: each token of the image, through the tied language head,
says which distortion it lies in, how severe, and where it is. It teaches the vision part long before answers could, and
lays positions of the image and cell words of the text into one space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iqaflow.core.errors import StageError
from iqaflow.tasks import grammar
from iqaflow.tasks.vocabulary import Vocabulary

SEVERITY_WEIGHT, PLACE_WEIGHT = 0.3, 0.3


@dataclass(frozen=True)
class Truth:
    """What is wrong where: (category, level, mask (H, W) or None for the whole image) per distortion; None where nobody
    knows all of it, and nothing is learnt of what is wrong.
    """

    flaws: tuple[tuple[str, float, np.ndarray | None], ...] | None


def targets(truths: list[Truth], grids: np.ndarray | None, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """Distributions per visual token, in the order of the tokens of all images on `grids` (images, 2; rows and columns):
    `category` (N, 13 with 12 categories), `severity` (N, 5; rows sum to the share of the token that is distorted) and `place`
    (N, 400 on a grid of 20x20).
    """
    import cv2

    if grids is None:
        raise StageError(
            "train.dense needs visual tokens that lie on one grid over the image, but this base drops some: set it to 0."
        )
    out: dict[str, list[np.ndarray]] = {"category": [], "severity": [], "place": []}
    for truth, (rows, columns) in zip(truths, np.asarray(grids), strict=True):
        size = int(rows), int(columns)
        category = np.zeros((*size, len(vocabulary.ids) + 1), np.float32)
        severity = np.zeros((*size, len(vocabulary.severities)), np.float32)
        for name, level, mask in truth.flaws or ():
            share = (
                np.ones(size, np.float32)
                if mask is None
                else cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
            )
            category[..., vocabulary.ids.index(name) + 1] += share
            severity[..., int(np.clip(round(level), 1, len(vocabulary.severities))) - 1] += share
        if truth.flaws is not None:
            category[..., 0] = np.clip(1.0 - category.sum(-1), 0, 1)
            category /= category.sum(-1, keepdims=True)
        severity /= np.maximum(severity.sum(-1, keepdims=True), 1.0)
        place = np.einsum("ir,jc->ijrc", *(_overlap(side, vocabulary.grid) for side in size)).reshape(*size, vocabulary.cells)
        for key, value in (("category", category), ("severity", severity), ("place", place)):
            out[key].append(value.reshape(-1, value.shape[-1]))
    return {key: np.concatenate(values) for key, values in out.items()}


def _overlap(tokens: int, grid: int) -> np.ndarray:
    """(tokens, grid): how each token's extent along one axis spreads over the grid's cells."""
    edges = np.linspace(0, grid, tokens + 1)
    cells = np.arange(grid)
    share = np.clip(np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells), 0, None)
    return (share / share.sum(1, keepdims=True)).astype(np.float32)


def single_tokens(tokenizer: Any, words: Sequence[str], parameter: str, off: str) -> list[int]:
    """The id of each answer word. Raises StageError, saying what to set to `off`, if the tokenizer splits one."""
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    split = [word for word, tokens in zip(words, pieces, strict=True) if len(tokens) != 1]
    if split:
        raise StageError(
            f"{parameter} needs single-token answer words, but the base splits {', '.join(map(repr, split[:3]))}: "
            f"set it to {off}."
        )
    return [tokens[0] for tokens in pieces]


class DenseHead:
    """Closed-set read-out through the model's own word embeddings; it has no weights of its own."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary) -> None:
        import torch

        def ids(words: list[str]) -> Any:
            return torch.tensor(single_tokens(tokenizer, words, "train.dense", "0"))

        phrases = [phrase for _, phrase in vocabulary.categories]
        self.ids = {
            "category": ids([grammar.CLEAN, *phrases]),
            "severity": ids(list(vocabulary.severities)),
            "place": ids([str(cell) for cell in range(vocabulary.cells)]),
        }

    def loss(self, visual: Any, embedding: Any, wanted: dict[str, Any]) -> Any:
        """Cross-entropy of visual tokens (N, width) against the `targets` distributions; `embedding` is the model's layer of
        word embeddings (called, not read: under ZeRO-3 a rank has only a part of its weights at other times).
        """
        total = 0.0
        for key, weight in (("category", 1.0), ("severity", SEVERITY_WEIGHT), ("place", PLACE_WEIGHT)):
            log_probs = (visual @ embedding(self.ids[key].to(visual.device)).T).log_softmax(-1)
            total = total - weight * (wanted[key] * log_probs).sum() / len(visual)
        return total

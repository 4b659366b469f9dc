"""The tree for a language model that cannot take a tree mask: every branch is a row of its own, images still encoded once.

The same answers as `tree_cache.Tree`, at the price of computing the prefix again for every row and, in free writing, every token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from iqaflow.engine.tree_cache import Branch
from iqaflow.model.families.family import Family

ROWS = 16  # rows per pass: bounds memory


class Rows:
    """The encoded images of B image sets, with the interface of `Tree`; `batch` has one row, the prefix, per set."""

    def __init__(self, model: Any, batch: dict[str, Any], family: Family) -> None:
        self.model, self.family, self.batch, self.device = model, family, batch, next(model.parameters()).device
        vision = {name: batch[name].to(self.device) for name in family.inputs}
        vision["pixel_values"] = vision["pixel_values"].to(model.dtype)
        self.tokens, self.grids = batch["tokens"].tolist(), batch.get("grids")
        with torch.inference_mode():
            self.features = family.features(model, vision)
            self.visual = family.visual(self.features, self.tokens)
        lengths = (batch["segments"] == 0).sum(1).tolist()
        self.prefixes = [row[:length].tolist() for row, length in zip(batch["input_ids"], lengths, strict=True)]
        positions = batch["position_ids"] if family.axes > 1 else batch["position_ids"][None]
        self.positions = [positions[:, row, :length] for row, length in enumerate(lengths)]
        counts = [ids.count(model.config.image_token_id) for ids in self.prefixes]
        self.images: list[list[int]] = []
        rest = iter(enumerate(self.tokens))
        for count in counts:
            self.images.append([])
            while count > 0:
                number, size = next(rest)
                self.images[-1].append(number)
                count -= size

    def last(self, branches: Sequence[Branch]) -> np.ndarray:
        """Log-probabilities (len(branches), vocabulary) of the token after each branch."""
        return np.concatenate([logs[-1:] for logs in self._logs(branches, [1] * len(branches))])

    def score(self, branches: Sequence[Branch], answers: Sequence[Sequence[int]]) -> np.ndarray:
        """Summed log-probability (len(branches), len(answers)) of every answer's tokens after every branch."""
        pairs = [(row, [*ids, *answer[:-1]]) for row, ids in branches for answer in answers]
        wanted = [list(answer) for _ in branches for answer in answers]
        logs = self._logs(pairs, [len(answer) for answer in wanted])
        sums = [float(some[np.arange(len(answer)), answer].sum()) for some, answer in zip(logs, wanted, strict=True)]
        return np.array(sums).reshape(len(branches), len(answers))

    def grow(
        self, branches: Sequence[Branch], max_tokens: int, ends: Callable[[int], bool]
    ) -> list[tuple[list[int], list[float]]]:
        """Greedy continuation of every branch until `ends(token)` (which is left out), with each token's probability."""
        out: list[tuple[list[int], list[float]]] = [([], []) for _ in branches]
        open_ = list(range(len(branches)))
        for _ in range(max_tokens):
            logs = self.last([(branches[n][0], [*branches[n][1], *out[n][0]]) for n in open_])
            going = []
            for number, row in zip(open_, logs, strict=True):
                token = int(row.argmax())
                out[number][1].append(float(np.exp(row[token])))
                if not ends(token):
                    out[number][0].append(token)
                    going.append(number)
            open_ = going
            if not open_:
                break
        return out

    def _logs(self, branches: Sequence[Branch], tails: Sequence[int]) -> list[np.ndarray]:
        """Log-probabilities (tail, vocabulary) of what follows each of the last `tail` tokens of every branch."""
        out: list[np.ndarray] = []
        for start in range(0, len(branches), ROWS):
            some = branches[start : start + ROWS]
            width = max(len(self.prefixes[row]) + len(ids) for row, ids in some)
            ids_, mask = torch.zeros((len(some), width), dtype=torch.long), torch.zeros((len(some), width), dtype=torch.long)
            positions = torch.zeros((self.family.axes, len(some), width), dtype=torch.long)
            for number, (row, ids) in enumerate(some):
                begin, end = len(self.prefixes[row]), len(self.prefixes[row]) + len(ids)
                ids_[number, :end] = torch.tensor([*self.prefixes[row], *ids])
                mask[number, :end] = 1
                positions[:, number, :begin] = self.positions[row]
                first = int(self.batch["next_position"][row])
                positions[:, number, begin:end] = torch.arange(first, first + len(ids))
            batch = {
                "input_ids": ids_,
                "attention_mask": mask,
                "tokens": torch.tensor(self.tokens),
                "position_ids": positions if self.family.axes > 1 else positions[0],
                "which": torch.tensor([image for row, _ in some for image in self.images[row]]),
            }
            with torch.inference_mode():
                hidden = self.family.hidden(
                    self.model, {key: tensor.to(self.device) for key, tensor in batch.items()}, self.features
                )
                for number, tail in enumerate(tails[start : start + ROWS]):
                    end = int(mask[number].sum())
                    logs = self.model.lm_head(hidden[number, end - tail : end]).float().log_softmax(-1)
                    out.append(logs.cpu().numpy())
        return out

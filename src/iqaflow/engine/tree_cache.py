"""Tree decoding: images and their prefix are computed once, every question and candidate is a branch on the cached keys.

Exactly what each branch would give alone, for the price of its own tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from iqaflow.model.families.family import Family

Branch = tuple[int, Sequence[int]]  # row of the tree, token ids of the branch so far


class Tree:
    """The cached prefixes of B image sets. Rows are padded; `segments` is 0 in a prefix, -1 in padding. `visual` holds the
    visual tokens (N, width) of every image in order, `grids` (images, 2) their rows and columns, None if they have none.
    """

    def __init__(self, model: Any, batch: dict[str, Any], family: Family) -> None:
        from transformers import DynamicCache

        self.model, self.device = model, next(model.parameters()).device
        self.cache = DynamicCache(config=model.config.get_text_config())
        self.segments = batch["segments"].to(self.device)
        self.start = batch["next_position"]
        self.grids, self.axes = batch.get("grids"), family.axes
        vision = {name: batch[name].to(self.device) for name in family.inputs}
        vision["pixel_values"] = vision["pixel_values"].to(model.dtype)
        with torch.inference_mode():
            features = family.features(model, vision)
            self.visual = family.visual(features, batch["tokens"].tolist())
            model.model(
                input_ids=batch["input_ids"].to(self.device),
                position_ids=batch["position_ids"].to(self.device),
                attention_mask=batch["attention_mask"].to(self.device, model.dtype),
                past_key_values=self.cache,
                use_cache=True,
                mm_encoder_outputs={"image": features},
            )

    def last(self, branches: Sequence[Branch]) -> np.ndarray:
        """Log-probabilities (len(branches), vocabulary) of the token after each branch."""
        hidden, at, _ = self._feed(branches)
        self._forget()
        return self._log_probs(hidden[at[:, 0], at[:, 1]])

    def score(self, branches: Sequence[Branch], answers: Sequence[Sequence[int]]) -> np.ndarray:
        """Summed log-probability (len(branches), len(answers)) of every answer's tokens after every branch."""
        hidden, at, keys = self._feed(branches)
        first = self._log_probs(hidden[at[:, 0], at[:, 1]])
        sums = first[:, [answer[0] for answer in answers]].astype(np.float64)
        longer = [(n, m) for n in range(len(branches)) for m, answer in enumerate(answers) if len(answer) > 1]
        if longer:
            # answers branch from their question: its tokens are not computed again for each of them
            hidden, at, _ = self._feed(
                [(branches[n][0], answers[m][:-1]) for n, m in longer],
                range(len(branches) + 1, len(branches) + 1 + len(longer)),
                [len(branches[n][1]) for n, _ in longer],
                keys,
                [n + 1 for n, _ in longer],
            )
            lengths = [len(answers[m]) - 1 for _, m in longer]
            rows = torch.cat([at[k, 0].expand(length) for k, length in enumerate(lengths)])
            columns = torch.cat([torch.arange(int(at[k, 1]) - length + 1, int(at[k, 1]) + 1) for k, length in enumerate(lengths)])
            labels = np.array([token for _, m in longer for token in answers[m][1:]])
            logs = self._log_probs(hidden[rows, columns])[np.arange(len(labels)), labels]
            for (n, m), extra in zip(longer, np.add.reduceat(logs, np.cumsum([0, *lengths[:-1]])), strict=True):
                sums[n, m] += extra
        self._forget()
        return sums

    def grow(
        self, branches: Sequence[Branch], max_tokens: int, ends: Callable[[int], bool]
    ) -> list[tuple[list[int], list[float]]]:
        """Greedy continuation of every branch until `ends(token)` (which is left out), with each token's probability."""
        out: list[tuple[list[int], list[float]]] = [([], []) for _ in branches]
        hidden, at, state = self._feed(branches)
        open_ = list(range(len(branches)))
        for step in range(max_tokens):
            logs = self._log_probs(hidden[at[:, 0], at[:, 1]])
            chosen = logs.argmax(1)
            going = []
            for number, token, log in zip(open_, chosen, logs.max(1), strict=True):
                out[number][1].append(float(np.exp(log)))
                if not ends(int(token)):
                    out[number][0].append(int(token))
                    going.append(number)
            if not going or step == max_tokens - 1:
                break
            open_ = going
            hidden, at, state = self._feed(
                [(branches[n][0], [out[n][0][-1]]) for n in open_],
                [n + 1 for n in open_],
                [len(branches[n][1]) + len(out[n][0]) - 1 for n in open_],
                state,
            )
        self._forget()
        return out

    def _feed(
        self,
        branches: Sequence[Branch],
        names: Sequence[int] | None = None,
        offsets: Sequence[int] | None = None,
        past: Any = None,
        parents: Sequence[int] | None = None,
    ) -> tuple[Any, Any, Any]:
        """Run branch tokens on top of the cache; a branch sees the prefix, its parent and itself. Gives hidden states
        (B, S, width), (row, column) of the last token of each branch, and the segments (B, keys) now in the cache.
        """
        past = self.segments if past is None else past
        names = names or range(1, len(branches) + 1)
        offsets = offsets or [0] * len(branches)
        parents = parents or names
        rows: list[list[tuple[int, int, int, int]]] = [[] for _ in range(len(self.segments))]  # token, name, position, parent
        at = []
        for (row, ids), name, offset, parent in zip(branches, names, offsets, parents, strict=True):
            start = int(self.start[row]) + offset
            rows[row] += [(token, name, start + place, parent) for place, token in enumerate(ids)]
            at.append((row, len(rows[row]) - 1))
        width = max(map(len, rows))
        table = torch.tensor([[*row, *[(0, -1, 0, -1)] * (width - len(row))] for row in rows]).to(self.device)
        new = table[..., 1]
        keys = torch.cat([past, new], 1)
        same = ((keys[:, None] == new[:, :, None]) | (keys[:, None] == table[..., 3][:, :, None])) & (keys[:, None] > 0)
        before = torch.ones(width, keys.shape[1], dtype=torch.bool, device=self.device).tril(past.shape[1])
        allowed = ((keys[:, None] == 0) | same) & before
        allowed[..., past.shape[1] :] |= torch.eye(width, dtype=torch.bool, device=self.device)
        mask = torch.zeros(allowed.shape, device=self.device, dtype=self.model.dtype)
        mask = mask.masked_fill(~allowed, torch.finfo(self.model.dtype).min)
        positions = table[..., 2]
        with torch.inference_mode():
            hidden = self.model.model(
                input_ids=table[..., 0],
                attention_mask=mask[:, None],
                position_ids=positions.expand(3, -1, -1) if self.axes > 1 else positions,
                past_key_values=self.cache,
                use_cache=True,
            ).last_hidden_state
        return hidden, torch.tensor(at), keys

    def _forget(self) -> None:
        grown = self.cache.get_seq_length() - self.segments.shape[1]
        if grown:
            self.cache.crop(-grown)

    def _log_probs(self, hidden: Any) -> np.ndarray:
        with torch.inference_mode():
            return self.model.lm_head(hidden).float().log_softmax(-1).cpu().numpy()

"""The training objective: cross-entropy on answer tokens of packed questions, and the dense read-out where asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from iqaflow import tasks
from iqaflow.model import families


class Objective(nn.Module):
    """Wraps a chat VLM; `forward(batch)` gives the loss and, detached, its parts: `answer`, `dense`, and `tasks`."""

    def __init__(self, model: Any, dense: Any = None, dense_weight: float = 0.0) -> None:
        super().__init__()
        self.model, self.dense, self.dense_weight = model, dense, dense_weight
        self.family = families.of(model.config)

    def forward(self, batch: dict[str, Any], vision_only: bool = False) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        features = self.family.features(self.model, batch)
        parts: dict[str, torch.Tensor] = {}
        loss = torch.zeros((), device=batch["input_ids"].device)
        if self.dense_weight:
            visual = torch.cat(self.family.visual(features, batch["tokens"].tolist()))
            dense = self.dense.loss(visual, self.model.get_input_embeddings(), batch["dense"])
            parts["dense"] = dense.detach()
            loss = loss + self.dense_weight * dense
        if not vision_only:
            answer, parts["tasks"] = self._answers(batch, features)
            parts["answer"] = answer.detach()
            loss = loss + answer
        return loss, parts

    def _answers(self, batch: dict[str, Any], features: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of the answer tokens, and (tasks, 2) the sums of weighed losses and of weights by task."""
        hidden, at = self.family.hidden(self.model, batch, features), batch["at"]
        log_probs = self.model.lm_head(hidden[at[:, 0], at[:, 1]]).float().log_softmax(-1)
        losses = -log_probs.gather(1, batch["labels"][:, None])[:, 0]
        if "soft_rows" in batch:
            rows = batch["soft_rows"]
            soft = -(batch["soft_probs"] * log_probs[rows].gather(1, batch["soft_ids"])).sum(1)
            losses = losses.index_copy(0, rows, soft)
        weighed = losses * batch["weights"]
        by_task = torch.zeros(len(tasks.names()), 2, device=losses.device)
        known = batch["tasks"] >= 0
        by_task.index_add_(0, batch["tasks"][known], torch.stack([weighed.detach(), batch["weights"]], 1)[known])
        return weighed.sum() / batch["weights"].sum(), by_task

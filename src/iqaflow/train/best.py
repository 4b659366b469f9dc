"""The best weights by the loss on the calibration split, and when to stop looking for better ones. Test data plays no part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from iqaflow.core.config import Config
from iqaflow.core.errors import DamagedError
from iqaflow.core.workspace import Workspace
from iqaflow.train import checkpoint
from iqaflow.train.batches import Batches
from iqaflow.train.deepspeed import to


class Best:
    """Measures every `train.evaluate_steps` steps; every rank takes part, each with its share of the micro-batches."""

    def __init__(
        self, config: Config, workspace: Workspace, work: Path, model: Any, processor: Any, rank: int, world: int
    ) -> None:
        self.train, self.folder, self.rank, self.world = config.train, work / "best", rank, world
        train = config.train.model_copy(update={"mixture": {}, "tokens": None})
        self.batches = Batches(config.model_copy(update={"train": train}), workspace, model, processor, "calibration")
        self.micros = max(1, min(train.evaluate_packs, len(self.batches)) // train.micro_batch)

    def due(self, step: int, steps: int) -> bool:
        """Whether to measure after `step` of `steps` steps."""
        return step % (self.train.evaluate_steps or steps) == 0 or step == steps

    def measure(self, engine: Any, device: Any) -> float:
        """Mean loss of the answers to the first `train.evaluate_packs` packs of the calibration split."""
        import torch
        import torch.distributed as dist

        total = torch.zeros(2, dtype=torch.float64, device=device)
        engine.eval()
        with torch.no_grad():
            for micro in range(self.rank, self.micros, self.world):
                then = (0, micro + self.world) if micro + self.world < self.micros else None
                batch = self.batches.take(0, micro, then)
                batch.pop("packs")
                _, parts = engine(to(batch, device))
                total += parts["tasks"].double().sum(0)
        engine.train()
        if self.world > 1:
            dist.all_reduce(total)
        return float(total[0] / total[1])

    def keep(self, engine: Any, step: int, loss: float, facts: dict[str, Any]) -> None:
        """Commit the weights if no measurement before was better."""
        newest = checkpoint.newest(self.folder)
        if newest is None or loss < newest[1]["loss"]:
            checkpoint.save(engine, self.folder, step, 1, self.rank, {**facts, "loss": loss})

    def exhausted(self, step: int) -> bool:
        """Whether the last `train.patience` measurements were no better than the one before them."""
        newest = checkpoint.newest(self.folder)
        wait = (self.train.patience or 0) * (self.train.evaluate_steps or 0)
        return bool(wait and newest and step - newest[1]["step"] >= wait)

    def restore(self, engine: Any) -> int:
        """Load the best weights; the step they were reached at."""
        newest = checkpoint.newest(self.folder)
        if newest is None:
            raise DamagedError(f"{self.folder} holds no whole checkpoint any more: run `iqaflow train` again.")
        path, manifest = newest
        checkpoint.load(engine, path)
        return int(manifest["step"])

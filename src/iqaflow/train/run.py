"""A rank's run over the optimizer steps: model, data and engine, checkpoints, and what happens when a step goes wrong.

The order of the data, the micro-batches of a step and their sum do not depend on the number of ranks: one rank
accumulates what two would share, and the weights come out the same.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from pathlib import Path
from typing import NoReturn

from iqaflow import tasks
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.files import explain_full_disk, write_bytes, write_json
from iqaflow.core.manifest import commit_directory
from iqaflow.core.workspace import Workspace
from iqaflow.tasks import vocabulary
from iqaflow.train import checkpoint, deepspeed, student
from iqaflow.train.batches import Batches
from iqaflow.train.best import Best
from iqaflow.train.probes import Probes
from iqaflow.train.ranks.heartbeat import mark
from iqaflow.train.sizing.utilisation import Meter
from iqaflow.train.step_log import StepLog, write_curve

STRIKES = 3
SKIPPED = "skipped.json"  # steps whose batch gave a loss or gradient that is not finite, in the work folder
log = logging.getLogger(__name__)


class Again(RuntimeError):
    """This rank must start anew, from the newest checkpoint: what it holds in memory is spoilt."""


class Stopped(RuntimeError):
    """Somebody asked the run to stop; its checkpoint is committed."""


class Run:
    """Model, data and engine of a rank, and the loop over optimizer steps."""

    def __init__(self, config: Config, workspace: Workspace, work: Path) -> None:
        import torch

        from iqaflow.model import dense_head
        from iqaflow.train.objective import Objective

        self.config, self.settings, self.workspace, self.work = config, config.train, workspace, work
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
        self.model, self.processor = student.load(config, workspace)
        self.meter = Meter(self.model, self.device, self.settings.precision)  # while the weights are whole: ZeRO-3 divides them
        self.batches = Batches(config, workspace, self.model, self.processor)
        self.best = (
            Best(config, workspace, work, self.model, self.processor, self.rank, self.world)
            if self.settings.evaluate_steps
            else None
        )
        head = dense_head.DenseHead(self.processor.tokenizer, vocabulary.current()) if self.settings.dense else None
        if head:
            self.model.config.iqaflow_dense = True  # inference may then read visual tokens too
        self.engine = deepspeed.build(
            Objective(self.model, head, self.settings.dense), self.settings, self.world, self.device, self.rate
        )
        self.skipped = set(json.loads((work / SKIPPED).read_text())) if (work / SKIPPED).is_file() else set()
        self.leave = False  # set by a signal handler

    @property
    def facts(self) -> dict[str, int]:
        """How the state of a checkpoint is divided."""
        return {"world": self.world, "zero_stage": self.settings.zero_stage}

    @property
    def steps(self) -> int:
        return self.batches.steps

    def rate(self, step: int) -> float:
        """Learning rate relative to the peak: linear warm-up, constant, linear decay at the end."""
        warm = min(1.0, (step + 1) / (self.settings.warmup + 1))
        tail = max(1, round(self.settings.decay * self.steps))
        return warm * min(1.0, (self.steps - step) / tail)

    def train(self) -> None:
        """All steps from the newest whole checkpoint on. Raises StageError after three bad steps in a row, Again where the run
        must start anew, Stopped after a signal.
        """
        folder = self.work / "checkpoints"
        start = checkpoint.resume(self.engine, folder, self.world, self.settings.zero_stage, self._say)
        self.log = StepLog(self.work / "steps.jsonl", start) if self.rank == 0 else None
        probes = Probes(self.workspace.annotated, self.config) if self.rank == 0 and self.settings.zero_stage < 3 else None
        if start == 0:
            self._probe(probes, 0)
        for step in range(start, self.steps):
            if step in self.skipped:
                self.engine.lr_scheduler.step()
                continue
            row, leave = self.step(step)
            if row is None:
                self._skip(step)
            if self.best and self.best.due(step + 1, self.steps):
                mark("evaluating", step)
                row["calibration_loss"] = self.best.measure(self.engine, self.device)
                self.best.keep(self.engine, step + 1, row["calibration_loss"], self.facts)
            if self.log is not None:
                self.log.add(row)
            due = (step + 1) % self.settings.checkpoint_steps == 0 and step + 1 < self.steps
            if due or leave:
                mark("checkpoint", step)
                checkpoint.save(self.engine, folder, step + 1, self.settings.keep_checkpoints, self.rank, self.facts)
            if leave:
                raise Stopped(f"Training was asked to stop and did after step {step + 1} of {self.steps}; run again to continue.")
            if due:
                self._probe(probes, step + 1)
            if self.best and self.best.exhausted(step + 1):
                self._say(f"no better loss on the calibration split for {self.settings.patience} measurements: stopped early")
                break
        mark("loading", self.steps)
        if self.best:
            self._say(f"the best weights are those of step {self.best.restore(self.engine)}")
        self._probe(probes, self.steps)
        self._finish()

    def _skip(self, step: int) -> NoReturn:
        """Remember that this step's batch is left out, and go back to the last weights that were whole."""
        import torch.distributed as dist

        self.skipped.add(step)
        strikes = next(count for count in range(1, self.steps + 2) if step - count not in self.skipped)
        if self.rank == 0:
            write_json(self.work / SKIPPED, sorted(self.skipped))
        dist.barrier()
        if strikes >= STRIKES:
            raise StageError(
                f"The loss was not finite {STRIKES} steps in a row (step {step + 1}): lower train.lr or check "
                f"the data; checkpoints are kept in {self.work / 'checkpoints'}."
            )
        raise Again(f"the loss or gradient of step {step + 1} is not finite: its batch is left out, back to the last checkpoint")

    def _probe(self, probes: Probes | None, step: int) -> None:
        if probes:
            mark("probes", step if step == self.steps else step - 1)  # drawn after the step before
        sheet = probes.sheet(self.model, self.processor) if probes else None
        if sheet:
            write_bytes(self.work / "probes" / f"{step:07d}.png", sheet)

    def step(self, step: int) -> tuple[dict[str, float] | None, bool]:
        """One optimizer step: its metrics (None where loss or gradient were not finite), and whether a rank was asked to stop."""
        import torch
        import torch.distributed as dist

        begun = time.perf_counter()
        config, waited, tokens = self.settings, 0.0, 0
        # loss, answer part, dense part, bad micro-batches, signals, packs; then per task the sum of losses and of weights
        sums = torch.zeros(6 + 2 * len(tasks.names()), dtype=torch.float64)
        vision_only = step * config.micro_batch * config.micro_batches < config.vision_images
        norm = None
        for micro in range(self.rank, config.micro_batches, self.world):
            mark("step", step, micro)
            fetched = time.perf_counter()
            batch = self.batches.take(step, micro, self._following(step, micro))
            waited += time.perf_counter() - fetched
            tokens += batch["input_ids"].numel()
            sums[5] += batch.pop("packs")
            self.meter.add(batch)
            loss, parts = self.engine(deepspeed.to(batch, self.device), vision_only)
            if torch.isfinite(loss):
                values = [loss.detach(), parts.get("answer"), parts.get("dense")]
                sums[:3] += torch.stack([torch.zeros(()) if v is None else v.cpu().float() for v in values]).double()
                if "tasks" in parts:
                    sums[6:] += parts["tasks"].cpu().double().flatten()
            else:
                sums[3] += 1
                loss = sum((p * 0).sum() for p in self.engine.parameters() if p.requires_grad)
            mark("step", step, micro, part=1)
            self.engine.backward(loss)
            if config.zero_stage == 0 and self.engine.is_gradient_accumulation_boundary():
                norm = deepspeed.gradient_norm(self.model)
            mark("step", step, micro, part=2)
            self.engine.step()
        mark("step", step, config.micro_batches - self.world + self.rank, part=3)
        if config.soft_targets and config.base == "scratch":
            from iqaflow.model.tiny import share_cells

            share_cells(self.model, self.processor.tokenizer)
        norm = norm if norm is not None else self.engine.get_global_grad_norm()
        norm = float(norm) if norm is not None else 0.0
        sums[3] += not math.isfinite(norm)
        sums[4] += self.leave
        if self.world > 1:
            total = sums.to(self.device)
            dist.all_reduce(total)
            sums = total.cpu()
        if sums[3]:
            return None, bool(sums[4])
        return self._row(step, sums.tolist(), norm, time.perf_counter() - begun, waited, tokens), bool(sums[4])

    def _following(self, step: int, micro: int) -> tuple[int, int] | None:
        """The micro-batch this rank needs next."""
        if micro + self.world < self.settings.micro_batches:
            return step, micro + self.world
        step = next((later for later in range(step + 1, self.steps) if later not in self.skipped), self.steps)
        return (step, self.rank) if step < self.steps else None

    def _row(self, step: int, sums: list[float], norm: float, seconds: float, waited: float, tokens: int) -> dict[str, float]:
        micros = self.settings.micro_batches
        row = {
            "step": step + 1,
            "steps": self.steps,
            "loss": sums[0] / micros,
            "loss_answer": sums[1] / micros,
            "loss_dense": sums[2] / micros,
            "lr": self.settings.lr * self.rate(step),
            "grad_norm": norm,
            "samples_per_second": sums[5] / seconds,
            "tokens_per_second": tokens * self.world / seconds,
            "step_seconds": seconds,
            "data_wait_share": waited / seconds,
            "memory_gib": deepspeed.memory_gib(),
        }
        weighed = zip(tasks.names(), sums[6::2], sums[7::2], strict=True)
        return row | self.meter.read(seconds) | {f"loss_{task}": loss / weight for task, loss, weight in weighed if weight}

    def _finish(self) -> None:
        import torch.distributed as dist

        mark("saving", self.steps)
        state = student.gathered(self.model, self.settings.zero_stage)
        if self.rank == 0:
            work = self.work / "stage1"
            with explain_full_disk(work):
                student.save(self.model, self.processor, state, self.settings, work)
            rows = self.log.rows() if self.log is not None else []
            (work / "README.md").write_text(
                student.card(self.config, self.steps, rows[-1]["loss"] if rows else math.nan), encoding="utf-8"
            )
            write_curve(self.work / "train.csv", rows)
            commit_directory(
                work, self.work / "finished", {"schema": "iqaflow.model/1", "base": self.settings.base, "steps": self.steps}
            )
        dist.barrier()
        mark("ending", self.steps)
        dist.destroy_process_group()

    def _say(self, text: str) -> None:
        if self.rank == 0:
            log.info("train: %s", text)

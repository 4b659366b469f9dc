"""One training rank: `python -m iqaflow.train.worker JOB.json`, started by the stage, torchrun or the deepspeed launcher.

The order of the data, the micro-batches of a step and their sum do not depend on the number of ranks: one rank
accumulates what two would share, and the weights come out the same.
"""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from iqaflow.config import Config
from iqaflow.ops.errors import StageError
from iqaflow.ops.files import commit_directory, write_bytes, write_json
from iqaflow.train.probes import Probes
from iqaflow.workspace import Workspace

STRIKES = 3


def main(job_path: str) -> None:
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    config, workspace = Config.model_validate(job["config"]), Workspace(Path(job["root"]))
    _single_rank_environment()
    import torch

    torch.set_num_threads(config.resources.threads)
    torch.manual_seed(config.seed)
    Run(config, workspace, Path(job["work"])).train()


def _single_rank_environment() -> None:
    """Without a launcher DeepSpeed looks for MPI; a lone process is rank 0 of 1."""
    from iqaflow.ops.services import free_port

    for key, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(key, value)
    if "MASTER_PORT" not in os.environ:
        os.environ["MASTER_PORT"] = str(free_port(0))


class Run:
    """Model, data and engine of a rank, and the loop over optimizer steps."""

    def __init__(self, config: Config, workspace: Workspace, work: Path) -> None:
        import torch

        from iqaflow.model import base, tiny
        from iqaflow.train import dense
        from iqaflow.train.dataset import Packs
        from iqaflow.train.objective import Objective
        from iqaflow.train.packing import packer_for

        self.config, self.train_config, self.workspace, self.work = config, config.train, workspace, work
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")
        if self.train_config.base == "scratch":
            self.model, self.processor = self._fresh()
        else:
            where = workspace.root / self.train_config.base
            self.model, self.processor = base.load(where if where.is_dir() else self.train_config.base, self.train_config)
            if self.train_config.vocabulary == "data":
                self.model, self.processor = tiny.grow(self.model, self.processor, self._texts())
        if self.train_config.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()
        if self.train_config.tuning == "lora":
            from peft import LoraConfig, inject_adapter_in_model

            lora = LoraConfig(r=self.train_config.lora_rank, lora_alpha=2 * self.train_config.lora_rank,
                              target_modules=list(self.train_config.lora_targets))
            self.model.requires_grad_(False)
            inject_adapter_in_model(lora, self.model)
        self.packs = Packs(workspace.annotated, "train", packer_for(self.model, self.processor), self.train_config, config.seed)
        head = dense.DenseHead(self.processor.tokenizer) if self.train_config.dense else None
        if head:
            self.model.config.iqaflow_dense = True  # inference may then read visual tokens too
        self.engine = self._engine(Objective(self.model, head, self.train_config.dense))
        self.seconds = {"data": 0.0, "all": 0.0}

    def _fresh(self) -> Any:
        from iqaflow.model import tiny

        return tiny.build(self._texts(), self.config.seed, self.train_config.min_pixels, self.train_config.max_pixels)

    def _texts(self) -> list[str]:
        from iqaflow.data.tables import read_rows

        return [turn["text"] for row in read_rows(self.workspace.annotated, "conversations", "train", ["turns"])
                for turn in row["turns"]]

    @property
    def per_step(self) -> int:
        return self.train_config.micro_batch * self.train_config.micro_batches

    @property
    def steps(self) -> int:
        steps = max(1, round(self.train_config.epochs * len(self.packs) / self.per_step))
        return min(steps, self.train_config.max_steps or steps)

    def rate(self, step: int) -> float:
        """Learning rate relative to the peak: linear warm-up, constant, linear decay at the end."""
        warm = min(1.0, (step + 1) / (self.train_config.warmup + 1))
        tail = max(1, round(self.train_config.decay * self.steps))
        return warm * min(1.0, (self.steps - step) / tail)

    def _engine(self, objective: Any) -> Any:
        import deepspeed
        import torch

        if self.device.type == "cpu":
            # its shared-memory all-reduce needs a compiler and a minute; gloo does the same work
            import deepspeed.ops

            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        decayed = [p for p in objective.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in objective.parameters() if p.requires_grad and p.ndim <= 1]
        config = self.train_config
        optimizer = torch.optim.AdamW(
            [group for group in ({"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0})
             if group["params"]],  # adapters have no vectors, and DeepSpeed drops empty groups
            lr=config.lr, betas=config.betas, eps=1e-8,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        settings = {
            "train_micro_batch_size_per_gpu": config.micro_batch,
            "gradient_accumulation_steps": config.micro_batches // self.world,
            "zero_optimization": {"stage": config.zero_stage}, "zero_allow_untested_optimizer": True,
            "gradient_clipping": config.clip, "bf16": {"enabled": config.precision == "bf16"},
            "steps_per_print": 1_000_000_000, "wall_clock_breakdown": False,
        }
        deepspeed.init_distributed(dist_backend="nccl" if self.device.type == "cuda" else "gloo")
        engine, *_ = deepspeed.initialize(
            model=objective, optimizer=optimizer, lr_scheduler=scheduler, config=settings, dist_init_required=False
        )
        return engine

    def train(self) -> None:
        from iqaflow.train import checkpoint

        config = self.train_config
        folder = self.work / "checkpoints"
        found = checkpoint.newest(folder, self._say if self.rank == 0 else None)
        start = 0
        if found:
            checkpoint.load(self.engine, found[0])
            start = found[1]
            self._say(f"continuing from step {start}")
        self.log = StepLog(self.work / "steps.jsonl", start) if self.rank == 0 else None
        probes = Probes(self.workspace.annotated, self.config) if self.rank == 0 and config.zero_stage < 3 else None
        if start == 0:
            self._probe(probes, 0)
        strikes = 0
        for step in range(start, self.steps):
            strikes = strikes + 1 if self._step(step) else 0
            if strikes >= STRIKES:
                raise StageError(f"The loss was not finite {STRIKES} steps in a row (step {step + 1}): lower train.lr or check "
                                 f"the data; checkpoints are kept in {folder}.")
            if (step + 1) % config.checkpoint_steps == 0 and step + 1 < self.steps:
                checkpoint.save(self.engine, folder, step + 1, config.keep_checkpoints, self.rank)
                self._probe(probes, step + 1)
        self._probe(probes, self.steps)
        self._finish()

    def _probe(self, probes: Probes | None, step: int) -> None:
        sheet = probes.sheet(self.model, self.processor) if probes else None
        if sheet:
            write_bytes(self.work / "probes" / f"{step:07d}.png", sheet)

    def _step(self, step: int) -> bool:
        """One optimizer step; true if its loss was not finite (the step then changes nothing but the schedule)."""
        import torch
        import torch.distributed as dist

        begun = time.perf_counter()
        config, data_seconds, tokens = self.train_config, 0.0, 0
        sums = torch.zeros(4, dtype=torch.float64)  # loss, answer part, dense part, non-finite micro-batches
        vision_only = step * self.per_step < config.vision_images
        norm = None
        for micro in range(self.rank, config.micro_batches, self.world):
            fetched = time.perf_counter()
            batch = self._batch(step, micro)
            data_seconds += time.perf_counter() - fetched
            tokens += batch["input_ids"].numel()
            loss, parts = self.engine(batch, vision_only)
            values = [loss.detach(), parts.get("answer"), parts.get("dense")]
            if torch.isfinite(loss):
                sums[:3] += torch.stack([torch.zeros(()) if v is None else v.cpu().float() for v in values]).double()
            else:
                sums[3] += 1
                loss = sum((p * 0).sum() for p in self.engine.parameters() if p.requires_grad)
            self.engine.backward(loss)
            if config.zero_stage == 0 and self.engine.is_gradient_accumulation_boundary():
                norm = self._gradient_norm()  # stage 0 clips without saying what it clipped
            self.engine.step()
        if config.soft_targets and config.base == "scratch":
            from iqaflow.model.tiny import share_cells

            share_cells(self.model, self.processor.tokenizer)
        if self.world > 1:
            total = sums.to(self.device)
            dist.all_reduce(total)
            sums = total.cpu()
        seconds = time.perf_counter() - begun
        if self.log is not None:
            norm = norm if norm is not None else self.engine.get_global_grad_norm()
            self.log.add({
                "step": step + 1, "steps": self.steps, "loss": float(sums[0]) / config.micro_batches,
                "loss_answer": float(sums[1]) / config.micro_batches, "loss_dense": float(sums[2]) / config.micro_batches,
                "lr": config.lr * self.rate(step), "grad_norm": float(norm) if norm is not None else 0.0,
                "samples_per_second": self.per_step / seconds, "tokens_per_second": tokens * self.world / seconds,
                "data_wait_share": data_seconds / seconds, "memory_gib": _memory_gib(),
            })
        return bool(sums[3])

    def _gradient_norm(self) -> float:
        import torch

        return float(torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None]))

    def _batch(self, step: int, micro: int) -> dict[str, Any]:
        import numpy as np
        import torch

        from iqaflow.train import dense

        first = step * self.per_step + micro * self.train_config.micro_batch
        numbers = range(first, first + self.train_config.micro_batch)
        made = []
        for number in numbers:
            epoch, place = divmod(number, len(self.packs))
            made.append(self.packs.pack(self.packs.order(epoch)[place], epoch))
        batch = self.packs.packer.collate([pack for pack, _ in made])
        if self.train_config.dense:
            truths = [truth for _, several in made for truth in several]
            batch["dense"] = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in
                              dense.targets(truths, batch.get("grids")).items()}
        if self.train_config.precision == "bf16":
            if batch["attention_mask"].is_floating_point():
                batch["attention_mask"] = batch["attention_mask"].clamp(min=torch.finfo(torch.bfloat16).min).bfloat16()
            batch["pixel_values"] = batch["pixel_values"].bfloat16()
        return _to(batch, self.device)

    def _finish(self) -> None:
        import torch.distributed as dist

        from iqaflow.model import base
        from iqaflow.train import card

        if self.train_config.zero_stage == 3:
            import deepspeed

            with deepspeed.zero.GatheredParameters(list(self.model.parameters()), modifier_rank=0):
                state = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        else:
            state = None
        if self.rank == 0:
            if self.train_config.tuning == "lora":
                from peft.tuners.lora import LoraLayer

                for module in self.model.modules():
                    if isinstance(module, LoraLayer):
                        module.merge()
                state = {name.replace(".base_layer", ""): value for name, value in (state or self.model.state_dict()).items()
                         if ".lora_" not in name}
            work = self.work / "stage1"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            if state is not None:
                self.model.save_pretrained(work, safe_serialization=True, state_dict=state)
                self.processor.tokenizer.save_pretrained(work)
                self.processor.image_processor.save_pretrained(work)
            else:
                base.save(self.model, self.processor, work)
            rows = self.log.rows() if self.log else []
            (work / "README.md").write_text(card.stage_one(self.config, self.steps, rows[-1]["loss"] if rows else math.nan),
                                            encoding="utf-8")
            write_curve(self.work / "train.csv", rows)
            commit_directory(work, self.work / "finished", {"schema": "iqaflow.model/1", "base": self.train_config.base,
                                                            "steps": self.steps})
        dist.barrier()
        dist.destroy_process_group()

    @staticmethod
    def _say(text: str) -> None:
        print(f"train: {text}", file=sys.stderr, flush=True)


class StepLog:
    """Metrics of every step as JSON lines, flushed at once: the stage follows the file, MLflow and the curve read it.

    A resumed run drops the lines after its checkpoint, so that each step is there once.
    """

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        kept = [row for row in self.rows() if row["step"] <= start]
        self.file = path.open("w", encoding="utf-8")
        for row in kept:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()

    def rows(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break  # a line cut short by a kill: everything after it is recomputed
        return rows


def write_curve(path: Path, rows: list[dict[str, Any]]) -> None:
    """Loss and rate by step, only what is the same in every run of the same inputs."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "loss", "lr"])
        writer.writerows([row["step"], f"{row['loss']:.6f}", f"{row['lr']:.8g}"] for row in rows)


def _memory_gib() -> float:
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return psutil.Process().memory_info().rss / 2**30


def _to(value: Any, device: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    return value.to(device)


def _run() -> int:
    from iqaflow.ops.environment import prepare
    from iqaflow.ops.errors import exit_code, sentence
    from iqaflow.ops.process import die_with_parent

    prepare()
    die_with_parent()
    try:
        main(sys.argv[1])
    except Exception as error:
        # the stage reads this file: a rank's reason must survive the rank
        path = Path(sys.argv[1]).parent / f"failure-{os.environ.get('RANK', '0')}.json"
        write_json(path, {"sentence": sentence(error), "code": exit_code(error)})
        if os.environ.get("IQAFLOW_DEBUG"):
            raise
        print(sentence(error), file=sys.stderr)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(_run())

"""DeepSpeed's engine around an objective: optimizer, schedule, ZeRO, and what a run needs to know of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iqaflow.core.config.schema import Train

RENDEZVOUS = "IQAFLOW_RENDEZVOUS"  # the file over which the ranks of one host find each other


def settings(train: Train, world: int) -> dict[str, Any]:
    """DeepSpeed's configuration for `world` ranks; the micro-batches of a step are shared among them."""
    zero: dict[str, Any] = {"stage": train.zero_stage}
    if train.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
        if train.zero_stage == 3:
            zero["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": train.micro_batch,
        "gradient_accumulation_steps": train.micro_batches // world,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "gradient_clipping": train.clip,
        "bf16": {"enabled": train.precision == "bf16"},
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def build(objective: Any, train: Train, world: int, device: Any, rate: Callable[[int], float]) -> Any:
    """The engine of this rank. `rate(step)` is the learning rate relative to `train.lr`."""
    import deepspeed
    import torch

    if device.type == "cpu":
        # its shared-memory all-reduce needs a compiler and a minute; gloo does the same work
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    learnt = [p for p in objective.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learnt if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in learnt if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]  # adapters have no vectors, and DeepSpeed drops empty groups
    optimizer = torch.optim.AdamW(groups, lr=train.lr, betas=train.betas, eps=1e-8)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    _meet("nccl" if device.type == "cuda" else "gloo", world)
    engine, *_ = deepspeed.initialize(
        model=objective, optimizer=optimizer, lr_scheduler=scheduler, config=settings(train, world), dist_init_required=False
    )
    return engine


def _meet(backend: str, world: int) -> None:
    """Join the other ranks: those of one host over a file, since torch's store would listen on every network, without a
    password; those of several hosts as their launcher says.
    """
    import deepspeed
    import torch

    if place := os.environ.get(RENDEZVOUS):
        torch.distributed.init_process_group(
            backend, init_method=Path(place).as_uri(), rank=int(os.environ["RANK"]), world_size=world
        )
    deepspeed.init_distributed(dist_backend=backend)


def gradient_norm(model: Any) -> float:
    """Norm of the gradients before they are clipped; ZeRO stage 0 clips without saying what it clipped."""
    import torch

    return float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None]))


def memory_gib() -> float:
    """What this rank holds: of its GPU at most so far, or resident in main memory."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return psutil.Process().memory_info().rss / 2**30


def to(value: Any, device: Any) -> Any:
    """A batch on a device."""
    if isinstance(value, dict):
        return {key: to(item, device) for key, item in value.items()}
    return value.to(device)

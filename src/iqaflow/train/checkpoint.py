"""Checkpoints that are whole or absent: DeepSpeed's files inside a folder whose manifest, with every hash, comes last.

DeepSpeed alone neither writes atomically nor verifies what it loads, and starts over silently when its marker is
missing; so nothing is loaded here that this project did not write and hash.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iqaflow.core.errors import DamagedError, NoSpaceError, StageError
from iqaflow.core.files import explain_full_disk
from iqaflow.core.manifest import commit_directory, read_manifest

TAG = "state"


def save(engine: Any, folder: Path, step: int, keep: int, rank: int, facts: dict[str, Any]) -> None:
    """Commit `folder/step-N` with `facts` (`world`, `zero_stage`, ...) in its manifest; every rank must call it. Older
    checkpoints beyond `keep` go only afterwards.
    """
    import torch.distributed as dist

    final = folder / f"step-{step:07d}"
    work = folder / f".{final.name}"
    if rank == 0:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    dist.barrier()
    try:
        with explain_full_disk(final):
            engine.save_checkpoint(str(work), tag=TAG)
        dist.barrier()
        if rank == 0:
            commit_directory(work, final, {"schema": "iqaflow.checkpoint/1", "step": step, **facts})
    except NoSpaceError:
        _free(work)
        raise
    if rank == 0:
        for old in committed(folder)[keep:]:
            shutil.rmtree(old)
    dist.barrier()


def _free(work: Path) -> None:
    """Give back the room of a half-written checkpoint: the run needs it to say why it ends."""
    for path in work.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)  # the failed writer may still hold the file open
    shutil.rmtree(work, ignore_errors=True)


def committed(folder: Path) -> list[Path]:
    """Checkpoint folders by step, newest first; not yet verified."""
    return sorted(folder.glob("step-*"), reverse=True)


def newest(folder: Path, say: Callable[[str], None] | None = None) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint whose every hash is right, with its manifest; damaged ones are named through `say`."""
    for path in committed(folder):
        try:
            return path, read_manifest(path, verify=True)
        except DamagedError as error:
            if say:
                say(f"{error} Falling back to an older checkpoint.")
    return None


def resume(engine: Any, folder: Path, world: int, zero_stage: int, say: Callable[[str], None]) -> int:
    """Restore weights, optimizer and schedule from the newest whole checkpoint; its step, or 0 where there is none.

    Raises StageError where the state was divided among ranks in another way (ZeRO 1 to 3 give each rank a part).
    """
    whole = newest(folder, say)
    if whole is None:
        return 0
    path, manifest = whole
    was, now = (manifest["world"], manifest["zero_stage"]), (world, zero_stage)
    if was != now and (was[1] or now[1]):
        raise StageError(
            f"{path} was written by {was[0]} rank(s) under ZeRO-{was[1]} and cannot be continued by {now[0]} under "
            f"ZeRO-{now[1]}: set resources.ranks={was[0]} and train.zero_stage={was[1]}, or remove {folder} to "
            "start this training anew."
        )
    load(engine, path)
    say(f"continuing from step {manifest['step']}")
    return int(manifest["step"])


def load(engine: Any, path: Path) -> None:
    """Restore a verified checkpoint."""
    loaded, _ = engine.load_checkpoint(str(path), tag=TAG)
    if loaded is None:
        raise DamagedError(f"{path} could not be loaded by DeepSpeed: remove it and run again.")

"""Checkpoints that are whole or absent: DeepSpeed's files inside a folder whose manifest, with every hash, comes last.

DeepSpeed alone neither writes atomically nor verifies what it loads, and starts over silently when its marker is
missing; so nothing is loaded here that this project did not write and hash.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from iqaflow.ops.files import DamagedError, commit_directory, read_manifest

TAG = "state"


def save(engine: Any, folder: Path, step: int, keep: int, rank: int) -> None:
    """Commit `folder/step-N`; every rank must call it. Older checkpoints beyond `keep` go only afterwards."""
    import torch.distributed as dist

    final = folder / f"step-{step:07d}"
    work = folder / f".{final.name}"
    if rank == 0:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    dist.barrier()
    engine.save_checkpoint(str(work), tag=TAG)
    dist.barrier()
    if rank == 0:
        commit_directory(work, final, {"schema": "iqaflow.checkpoint/1", "step": step})
        for old in committed(folder)[keep:]:
            shutil.rmtree(old)
    dist.barrier()


def committed(folder: Path) -> list[Path]:
    """Checkpoint folders by step, newest first; not yet verified."""
    return sorted(folder.glob("step-*"), reverse=True)


def newest(folder: Path, say: Any = None) -> tuple[Path, int] | None:
    """The newest checkpoint whose every hash is right, with its step; damaged ones are named through `say`."""
    for path in committed(folder):
        try:
            return path, int(read_manifest(path, verify=True)["step"])
        except DamagedError as error:
            if say:
                say(f"{error} Falling back to an older checkpoint.")
    return None


def load(engine: Any, path: Path) -> None:
    """Restore weights, optimizer and schedule from a verified checkpoint."""
    loaded, _ = engine.load_checkpoint(str(path), tag=TAG)
    if loaded is None:
        raise DamagedError(f"{path} could not be loaded by DeepSpeed: remove it and run again.")

"""Folders of photographs that look alike only where they should, and what the sources make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from iqaflow import sources
from iqaflow.core import config
from iqaflow.core.config.schema import Labelled
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Index


def scene(seed: int, side: int = 160) -> Image.Image:
    """A smooth random picture: no two seeds look alike."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def indexed(folder: Path, work: Path, *overrides: str, labelled: tuple[Labelled, ...] = ()) -> Index:
    chosen = config.load(overrides=("source.kind=folder", f"source.path={folder}", *overrides))
    chosen = chosen.model_copy(update={"source": chosen.source.model_copy(update={"labelled": labelled})})
    return sources.index(chosen, Workspace(work))


def splits(index: Index) -> dict[str, str]:
    return {photo.origin: photo.split for photo in index.photographs}

"""Regions that Segment Anything finds by itself: SAM or SAM 2, asked on a grid of points.

    annotate.regions: sam
    annotate.sam.model: models/sam-vit-base        a local folder, or a hub id with annotate.sam.revision

The segments of a photograph are kept on disk, because finding them takes seconds; a changed model or option finds them anew.
They have no class names, so they are described by their colour.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.config.schema import Annotate, Segmenter
from iqaflow.core.files import write_bytes
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import size_of
from iqaflow.data.photographs import Photograph
from iqaflow.model import promptable
from iqaflow.regions import proposals
from iqaflow.regions.shape import MOST_SEGMENTS, Region, Segments, Window, cut

METHOD = 1  # of this file and proposals.py; a new number makes every photograph's segments anew
POINTS = 64  # whose masks are held at once before the sure ones are picked


def of_photograph(photograph: Photograph, pixels: np.ndarray, config: Config, workspace: Workspace) -> Segments | None:
    sam = config.annotate.sam
    model = promptable.identity(sam, workspace)[1]
    settings = [METHOD, photograph.sha256, model, sam.points_per_side, sam.predicted_iou, sam.stability, sam.overlap]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    path = workspace.state / "regions" / "sam" / key[:2] / f"{key}.npz"
    labels = _kept(path, size_of(pixels))
    if labels is None:
        labels = segment(pixels, sam, workspace, config.resources.threads)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, labels=labels)
        write_bytes(path, buffer.getvalue())
    return Segments(labels, (None,) * int(labels.max(initial=0)))


def of_view(
    view: np.ndarray, window: Window, segments: Segments | None, config: Annotate, rng: np.random.Generator
) -> list[Region]:
    return cut(view, window, segments, config.area)


def inputs(config: Config, workspace: Workspace) -> dict[str, str]:
    """What identifies the segmenter: the hash of its files, or hub id and revision."""
    return {"annotate.sam": promptable.identity(config.annotate.sam, workspace)[1]}


def segment(pixels: np.ndarray, sam: Segmenter, workspace: Workspace, threads: int = 1) -> np.ndarray:
    """Label map (H, W) of a uint8 RGB photograph (H, W, 3), 0 for nothing, the most trusted segment first. `threads` is set
    because another number changes the last bits. Raises StageError if the model cannot be loaded.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        logits, scores = sure_masks(promptable.see(pixels, sam, workspace), sam)
    finally:
        torch.set_num_threads(before)
    if not len(logits):
        return np.zeros(size_of(pixels), np.uint8)
    chosen = proposals.distinct(logits, scores, sam.overlap)[:MOST_SEGMENTS]
    return proposals.layered([proposals.mended(logits[at].astype(np.float32)) for at in chosen], size_of(pixels))


def sure_masks(seen: promptable.Seen, sam: Segmenter) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, h, w) over the photograph and predicted IoUs (N) of the sure masks of all points."""
    points = proposals.grid(sam.points_per_side) * seen.shape[::-1]
    sure: list[np.ndarray] = []
    trusted: list[np.ndarray] = []
    for start in range(0, len(points), POINTS):
        masks, scores = seen.ask(points=points[start : start + POINTS])
        masks, scores = masks.reshape(-1, *masks.shape[2:]), scores.ravel()
        good = proposals.sure(masks, scores, sam.predicted_iou, sam.stability)
        sure.append(masks[good].astype(np.float16))
        trusted.append(scores[good])
    return np.concatenate(sure), np.concatenate(trusted)


def _kept(path: Path, size: tuple[int, ...]) -> np.ndarray | None:
    """The label map found before, None if there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            labels = file["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return labels if labels.shape == tuple(size) and labels.dtype in (np.uint8, np.uint16) else None

"""Segment Anything by `transformers`: load SAM or SAM 2 once, look at a photograph once, ask for as many masks as wanted.

seen = promptable.see(image, config.annotate.sam, workspace)
logits, scores = seen.ask(boxes=boxes)
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core.config.schema import Segmenter
from iqaflow.core.errors import StageError
from iqaflow.core.hashes import sha256
from iqaflow.core.workspace import Workspace

CLASSES = {"sam": "SamModel", "sam2": "Sam2Model", "sam2_video": "Sam2Model"}  # SAM 2 is published as a video model
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
Point = tuple[float, float]
TOGETHER = 16  # prompts per forward pass; more is no faster on a CPU and takes gigabytes


@dataclass(frozen=True)
class Seen:
    """A photograph of `shape` (H, W) as a model sees it: `size` (height, width) of it inside a square of `side`."""

    model: Any
    embeddings: Any
    shape: tuple[int, int]
    size: tuple[int, int]
    side: int

    def ask(self, points: np.ndarray | None = None, boxes: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Three masks for every point (N, 2) as x, y or box (N, 4) as x0, y0, x1, y1, in pixels of the photograph: logits
        (N, 3, h, w) over the photograph, positive inside, and the IoU (N, 3) the model predicts for each.
        """
        given = np.asarray(points if points is not None else boxes, np.float32)
        answers = [
            self._masks(input_points=batch[None, :, None]) if points is not None else self._masks(input_boxes=batch[None])
            for batch in np.split(given, range(TOGETHER, len(given), TOGETHER))
        ]
        return np.concatenate([masks for masks, _ in answers]), np.concatenate([trusted for _, trusted in answers])

    def prompt(
        self, points: Sequence[Point], negatives: Sequence[Point] = (), box: Sequence[float] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Three masks of the one region that all the points and the box describe: logits (3, h, w) and predicted IoU (3,)."""
        given = {
            "input_points": np.array([*points, *negatives], np.float32)[None, None],
            "input_labels": np.array([1] * len(points) + [0] * len(negatives))[None, None],
        }
        if box is not None:
            given["input_boxes"] = np.array(box, np.float32)[None, None]
        masks, trusted = self._masks(**given)
        return masks[0], trusted[0]

    def _masks(self, **given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, 3, h, w) over the photograph and predicted IoU (N, 3) for prompts in pixels of the photograph."""
        import torch

        scale = np.divide(self.size, self.shape)[::-1].astype(np.float32)
        if "input_points" in given:
            given["input_points"] = given["input_points"] * scale
        if "input_boxes" in given:
            given["input_boxes"] = given["input_boxes"] * np.tile(scale, 2)
        with torch.inference_mode():
            output = self.model(
                image_embeddings=self.embeddings,
                multimask_output=True,
                **{name: torch.from_numpy(value).to(self.model.device) for name, value in given.items()},
            )
        masks = output.pred_masks[0].float().cpu().numpy()
        rows, columns = (max(1, round(part / self.side * full)) for part, full in zip(self.size, masks.shape[2:], strict=True))
        return masks[:, :, :rows, :columns], output.iou_scores[0].float().cpu().numpy()


def see(pixels: np.ndarray, sam: Segmenter, workspace: Workspace) -> Seen:
    """Look at a uint8 RGB photograph (H, W, 3) with the model that `annotate.sam` names. Raises StageError in one sentence if
    there is none or it cannot be loaded.
    """
    return look(pixels, identity(sam, workspace)[0], sam.revision)


def look(pixels: np.ndarray, where: str, revision: str | None, parameter: str = "annotate.sam.model") -> Seen:
    """Look at a photograph with the model in a folder, or of a hub id at a pinned revision; `parameter` is named where it
    cannot be loaded.
    """
    import torch

    model, normal = _load(where, revision, parameter)
    side = model.config.prompt_encoder_config.image_size
    side = int(side if isinstance(side, int) else side[0])
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    # SAM keeps the aspect and pads below or to the right, SAM 2 fills the square
    fills = model.config.model_type != "sam"
    size = (side, side) if fills else (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    with torch.inference_mode():
        values = torch.from_numpy(prepared(pixels, size, side, normal)).to(model.device)
        return Seen(model, model.get_image_embeddings(values), (height, width), size, side)


def prepared(pixels: np.ndarray, size: tuple[int, int], side: int, normal: dict[str, list[float]]) -> np.ndarray:
    """Float32 (1, 3, side, side): resized to `size`, normalised, padded with zeros. By hand, because the image processor of
    SAM 2 needs torchvision.
    """
    from PIL import Image

    resized = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR), np.float32) / 255
    padded = np.zeros((1, 3, side, side), np.float32)
    mean, std = (np.array(normal[name], np.float32) for name in ("image_mean", "image_std"))
    padded[0, :, : size[0], : size[1]] = ((resized - mean) / std).transpose(2, 0, 1)
    return padded


def identity(sam: Segmenter, workspace: Workspace) -> tuple[str, str]:
    """Where the model lies, and what tells it from every other: the hash of its files, or hub id and revision."""
    if not sam.model:
        raise StageError(
            "annotate.sam.model is missing: give a local folder of a SAM or SAM 2 checkpoint, or a hub id with "
            "annotate.sam.revision."
        )
    folder = (workspace.root / Path(sam.model).expanduser()).resolve()
    if folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
        return str(folder), _digest(tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files))
    if not re.fullmatch(r"[0-9a-f]{40}", sam.revision or ""):
        raise StageError(
            f"annotate.sam.model: {sam.model} is not a folder here, and a hub id needs annotate.sam.revision (40 hex digits)."
        )
    return sam.model, f"{sam.model}@{sam.revision}"


@functools.lru_cache(maxsize=4)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    return hashlib.sha256("".join(f"{path.name} {sha256(path)}\n" for path, *_ in files).encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _load(where: str, revision: str | None, parameter: str) -> tuple[Any, dict[str, list[float]]]:
    """The model, on a GPU where there is one, and how its pixels are normalised."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {} if Path(where).is_dir() else {"revision": revision}
    try:
        kind = transformers.AutoConfig.from_pretrained(where, trust_remote_code=False, **options).model_type
        if kind not in CLASSES:
            raise StageError(f"{parameter}: {where} is a {kind} model, expected SAM or SAM 2.")
        model, report = getattr(transformers, CLASSES[kind]).from_pretrained(
            where, use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, KeyError) as error:
        raise StageError(f"{parameter}: {where} cannot be loaded ({str(error).splitlines()[0]}).") from None
    if missing := sorted(report["missing_keys"]):  # they would be random
        raise StageError(f"{parameter}: {where} lacks {len(missing)} weights, the first is {missing[0]}.")
    try:
        stored = transformers.SamImageProcessorPil.get_image_processor_dict(where, **options)[0]
    except OSError:  # a bare model; all published ones are normalised alike
        stored = {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().requires_grad_(False).to(device), {name: stored.get(name, default) for name, default in IMAGENET.items()}

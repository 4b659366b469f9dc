"""Segment Anything by `transformers`, frozen, prompted with the points (IQA-Spider, stage two). Needs weights:

    calibrate.segmenters: [map, sam:models/sam-vit-base]        a local folder, or sam:OWNER/NAME@REVISION
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.calibrate.masks import above, iou, keep

WEIGHTS = True
SLOW = True
OPTIONS = [
    {"prompt": prompt, "choose": choose, "threshold": 0.3}
    for prompt in ("points", "points+box")
    for choose in ("map", "score")
]


def segment(image, map_, points, negatives, box_xyxy, options) -> np.ndarray:
    """One of SAM's three masks: the one that agrees best with the map cut at `threshold`, or (`choose: score`) the one
    SAM trusts most. Without any point the map's peak is the point."""
    import torch

    model, processor = _load(options["model"])
    fallback = keep(above(map_, options["threshold"]), map_, "largest")
    if not points:
        row, column = np.unravel_index(int(map_.argmax()), map_.shape)
        points = [(column + 0.5, row + 0.5)]
    places = [[[float(x), float(y)] for x, y in (*points, *negatives)]]
    labels = [[1] * len(points) + [0] * len(negatives)]
    boxes = {"input_boxes": [[[float(side) for side in box_xyxy]]]} if box_xyxy and "box" in options["prompt"] else {}
    inputs = processor(image, input_points=[places], input_labels=[labels], return_tensors="pt", **boxes)
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    with torch.inference_mode():
        output = model(**inputs, multimask_output=True)
    sizes = (size.tolist() for size in sizes)
    masks = processor.post_process_masks(output.pred_masks, *sizes)[0][0].numpy().astype(bool)
    if options["choose"] == "score":
        order = np.argsort(-output.iou_scores[0, 0].numpy(), kind="stable")
    else:
        order = np.argsort([-iou(mask, fallback) for mask in masks], kind="stable")
    return next((masks[at] for at in order if masks[at].any()), fallback)


@functools.lru_cache(maxsize=1)
def _load(name: str) -> tuple[Any, Any]:
    from transformers import SamImageProcessorPil, SamModel, SamProcessor

    from iqaflow.config import ConfigError

    place, _, revision = name.partition("@")
    if not Path(place).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ConfigError(f"calibrate.segmenters: {place!r} is not a folder here; a model of the hub needs its "
                          "revision, written sam:OWNER/NAME@ and 40 hex digits.")
    options = {} if Path(place).is_dir() else {"revision": revision}
    try:
        model = SamModel.from_pretrained(place, use_safetensors=True, **options).eval()
        processor = SamProcessor(SamImageProcessorPil.from_pretrained(place, **options))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"calibrate.segmenters: SAM cannot be loaded from {name!r}: {reason}") from None
    return model.requires_grad_(False), processor

"""SAM or SAM 2 by `transformers`, frozen, prompted with the points (IQA-Spider, stage two). It needs weights.

calibrate.segmenters: [map, sam:models/sam-vit-base]        a local folder, or sam:OWNER/NAME@REVISION
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from iqaflow.core.errors import StageError
from iqaflow.data.masks import iou
from iqaflow.grounding.maps import above, keep, resize
from iqaflow.grounding.segmenters import Box, Options, Points

WEIGHTS = True
SLOW = True
OPTIONS = [
    {"prompt": prompt, "choose": choose, "threshold": 0.3} for prompt in ("points", "points+box") for choose in ("map", "score")
]


def segment(
    image: np.ndarray, map_: np.ndarray, points: Points, negatives: Points, box_xyxy: Box | None, options: Options
) -> np.ndarray:
    """One of SAM's three masks: the one that agrees best with the map cut at `threshold`, or (`choose: score`) the one
    SAM trusts most. Without any point the map's peak is the point.
    """
    from iqaflow.core.errors import ConfigError
    from iqaflow.model import promptable

    place, _, revision = options["model"].partition("@")
    if not Path(place).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise ConfigError(
            f"calibrate.segmenters: {place!r} is not a folder here; a model of the hub needs its "
            "revision, written sam:OWNER/NAME@ and 40 hex digits."
        )
    try:
        seen = promptable.look(image, place, revision or None, "calibrate.segmenters")
    except StageError as error:
        raise ConfigError(str(error)) from None
    fallback = keep(above(map_, options["threshold"]), map_, "largest")
    if not points:
        row, column = np.unravel_index(int(map_.argmax()), map_.shape)
        points = [(column + 0.5, row + 0.5)]
    logits, trusted = seen.prompt(points, negatives, box_xyxy if "box" in options["prompt"] else None)
    masks = [resize(values, map_.shape) > 0 for values in logits]
    merit = trusted if options["choose"] == "score" else [iou(mask, fallback) for mask in masks]
    order = np.argsort(-np.asarray(merit), kind="stable")
    return next((masks[at] for at in order if masks[at].any()), fallback)

"""Promptable segmenters behind one interface; every module of this package is one, found by listing.

A module has `segment(image, map_, points, negatives, box_xyxy, options) -> mask`, `OPTIONS` (tried in calibration, the
first is the default), `SLOW` (tried on fewer images) and `WEIGHTS` (needs a model: named `sam:FOLDER` or
`sam:OWNER/NAME@REVISION` in `calibrate.segmenters`). None raises on flat, small or unprompted images.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from iqaflow.core.plugins import KINDS

Point = tuple[float, float]
Points = Sequence[Point]
Box = tuple[float, float, float, float]
Options = dict[str, Any]


def find(name: str) -> tuple[ModuleType, dict[str, Any]]:
    """The module of `name` or `name:model`, and the options that `model` sets. ConfigError if there is none."""
    from iqaflow.core.errors import ConfigError

    kind, _, model = name.partition(":")
    module = KINDS["segmenters"].module(kind, "calibrate.segmenters")
    if module.WEIGHTS and not model:
        raise ConfigError(f"calibrate.segmenters: {kind!r} needs weights, written {kind}:FOLDER or {kind}:OWNER/NAME@REVISION.")
    if model and not module.WEIGHTS:
        raise ConfigError(f"calibrate.segmenters: {kind!r} uses no weights, so {name!r} cannot name any.")
    return module, {"model": model} if model else {}


def candidates(name: str) -> list[dict[str, Any]]:
    """Option sets to try in calibration, the default first."""
    module, fixed = find(name)
    return [{**options, **fixed} for options in module.OPTIONS]


def segment(
    name: str,
    image: np.ndarray,
    map_: np.ndarray,
    points: Sequence[Point] = (),
    negatives: Sequence[Point] = (),
    box_xyxy: Box | None = None,
    options: dict[str, Any] | None = None,
) -> np.ndarray:
    """Boolean mask (H, W) of the prompted region of a uint8 RGB image (H, W, 3).

    `map_` (H, W) in 0..1 says how likely each pixel belongs; points are (x, y) and the box x0, y0, x1, y1 in pixels.
    Options not given take the segmenter's defaults.
    """
    from iqaflow.grounding.maps import resize

    module, fixed = find(name)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    map_ = np.clip(np.nan_to_num(resize(map_, image.shape[:2]), nan=0.0), 0, 1)
    chosen = {**module.OPTIONS[0], **(options or {}), **fixed}
    mask = module.segment(np.ascontiguousarray(image[:, :, :3]), map_, list(points), list(negatives), box_xyxy, chosen)
    return np.asarray(mask, dtype=bool)

"""What differs where between two versions of one picture: the regions whose pixels changed, and what is wrong there in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iqaflow.data.regions import bounds, colour
from iqaflow.infer import findings
from iqaflow.infer.regions import Asked
from iqaflow.infer.subject import Subject
from iqaflow.tasks import grammar
from iqaflow.tasks import score as rating

CHANGED = 0.93  # similarity under which a pixel's surroundings count as changed
TONE = 6.0  # of 255: mean difference of a colour above which they count as changed too; structure alone misses a darker place
COARSE = 32  # px of the copies that tell whether two images show the same; finer ones would see the distortions
SAME_PICTURE = 0.45  # least correlation of their detail; measured: versions .6 to 1, different photographs at most .3
MOST, LEAST_AREA, WHOLE_AREA = 5, 0.005, 0.7


def differences(judge: Any, session: Any, pair: Sequence[Subject]) -> list[dict[str, Any]] | None:
    """The regions that differ, largest first: `{label, box_xyxy, cells, mask_rle, images: {"Image A": {distortions, score},
    "Image B": ...}, better, confidence}`; `confidence` is the chance that the better one is rated higher. `session` holds A and B
    as items 0 and 1. None if the two are not versions of one picture."""
    masks = changed(pair[0].pixels, pair[1].pixels)
    if masks is None:
        return None
    areas = [_asked(pair[0].pixels, mask) for mask in masks]
    found = findings.regions(judge, session, pair, [areas, areas], given=True)
    out = []
    for a, b in zip(*found, strict=True):
        chance = _higher(*(np.array(list(one["score"]["distribution"].values())) for one in (a, b)))
        out.append({**{key: a[key] for key in ("label", "box_xyxy", "cells", "mask_rle")},
                    "images": {name: {key: one[key] for key in ("distortions", "score")}
                               for name, one in (("Image A", a), ("Image B", b))},
                    "better": "Image A" if chance >= 0.5 else "Image B", "confidence": findings.rounded(max(chance, 1 - chance))})
    return out


def changed(a: np.ndarray, b: np.ndarray) -> list[np.ndarray] | None:
    """Masks (H, W) of the connected parts that differ between two uint8 RGB images, largest first: where their structure,
    averaged over a few pixels, is less similar than `CHANGED`, or their tone differs by more than `TONE`. One that covers most of
    the image is the whole image. None if the images are of other sizes or show different things."""
    import cv2
    from scipy.ndimage import label

    from iqaflow.annotate import quality

    if a.shape != b.shape or _resemblance(a, b) < SAME_PICTURE:
        return None
    small = [findings.shrunk(image) for image in (a, b)]
    spread = max(2.0, 0.015 * max(small[0].shape))
    alike, drift = (cv2.GaussianBlur(values, (0, 0), spread) for values in (
        quality.similarity(*small).astype(np.float32), small[0].astype(np.float32) - small[1]))
    low = ((alike < CHANGED) | (np.abs(drift).max(2) > TONE)).astype(np.uint8)
    if low.mean() >= WHOLE_AREA:
        return [np.ones(a.shape[:2], bool)]
    labels, count = label(low)
    sizes = np.bincount(labels.ravel(), minlength=count + 1) / low.size
    chosen = [one for one in sorted(range(1, count + 1), key=lambda one: -sizes[one]) if sizes[one] >= LEAST_AREA][:MOST]
    return [cv2.resize((labels == one).astype(np.uint8), a.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
            for one in chosen]


def _resemblance(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the detail of small grey copies: 1 for one picture however distorted, about 0 for two."""
    import cv2

    detail = []
    for image in (a, b):
        grey = cv2.cvtColor(cv2.resize(image, (COARSE, COARSE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY).astype(float)
        detail.append(grey - cv2.GaussianBlur(grey, (0, 0), COARSE / 6))
    one, other = detail
    # the one under the fraction is for flat images, which resemble each other
    return float((np.mean(one * other) + 1) / (np.sqrt(np.mean(one**2) * np.mean(other**2)) + 1))


def _asked(pixels: np.ndarray, mask: np.ndarray) -> Asked:
    box = bounds(mask)
    height, width = mask.shape
    name = grammar.WHOLE if mask.all() else f"{colour(pixels[mask][:: max(1, int(mask.sum()) // 4096)])} region"
    return Asked(name, tuple(map(float, box)), mask, [], grammar.box_cells(box, width, height))


def _higher(a: np.ndarray, b: np.ndarray) -> float:
    """The chance that a draw of rating words (5,) from `a` is better than one from `b`; equal ones count half."""
    joint = np.outer(a, b)
    values = np.array(rating.VALUES)
    return float(joint[values[:, None] > values[None, :]].sum() + 0.5 * np.trace(joint)) / float(joint.sum())

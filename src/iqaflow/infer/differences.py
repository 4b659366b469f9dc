"""What differs where between two versions of one picture: the regions whose pixels changed, and what is wrong there in each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from iqaflow.data.masks import bounds
from iqaflow.engine.session import Session
from iqaflow.infer import findings
from iqaflow.infer.findings import Evaluator
from iqaflow.infer.picture import Subject
from iqaflow.infer.regions import RegionPrompt
from iqaflow.regions import colour
from iqaflow.tasks import grammar

CHANGED = 0.93  # similarity under which a pixel's surroundings count as changed
ALIKE, SAME_PICTURE = 0.95, 0.3  # mean similarity, and correlation of coarse light: other pictures stay under both
TONE = 6.0  # of 255: mean difference of a colour above which they count as changed too; structure alone misses a darker place
STRIP = 32  # rows of the working size that are compared at native detail at once
MOST, LEAST_AREA, WHOLE_AREA = 5, 0.005, 0.7


def differences(evaluator: Evaluator, session: Session, pair: Sequence[Subject]) -> list[dict[str, Any]] | None:
    """The regions that differ, largest first: `{label, box_xyxy, cells, mask_rle, images: {"Image A": {distortions, score},
    "Image B": ...}, better, confidence}`; `confidence` is the chance that the better one is rated higher. `session` holds A and B
    as items 0 and 1. None if the two are not versions of one picture.
    """
    masks = changed(pair[0].pixels, pair[1].pixels)
    if masks is None:
        return None
    areas = [named_region(pair[0].pixels, mask, evaluator.engine.vocabulary.grid) for mask in masks]
    regions = findings.regions(evaluator, session, pair, [areas, areas], given=True)
    out = []
    for a, b in zip(*regions, strict=True):
        chance = chance_higher(*(np.array(list(region["score"]["distribution"].values())) for region in (a, b)))
        out.append(
            {
                **{key: a[key] for key in ("label", "box_xyxy", "cells", "mask_rle")},
                "images": {
                    name: {key: region[key] for key in ("distortions", "score")}
                    for name, region in (("Image A", a), ("Image B", b))
                },
                "better": "Image A" if chance >= 0.5 else "Image B",
                "confidence": findings.rounded(max(chance, 1 - chance)),
            }
        )
    return out


def changed(a: np.ndarray, b: np.ndarray) -> list[np.ndarray] | None:
    """Masks (H, W) of the connected parts that differ between two uint8 RGB images, largest first: where their structure,
    averaged over a few pixels, is less similar than `CHANGED`, or their tone differs by more than `TONE`. One that covers most of
    the image is the whole image. None if the images are of other sizes or show different things.
    """
    import cv2
    from scipy.ndimage import label

    from iqaflow.iqa import mdsi

    if a.shape != b.shape:
        return None
    small = [findings.shrunk(image) for image in (a, b)]
    alike = mdsi.similarity(*small)
    if alike.mean() < ALIKE and _correlation(*small) < SAME_PICTURE:
        return None
    if small[0].shape != a.shape:  # what vanishes when reduced, such as noise, shows in the detail
        alike = np.minimum(alike, similarity_map(a, b, alike.shape))
    spread = max(2.0, 0.015 * max(alike.shape))
    alike, drift = (
        cv2.GaussianBlur(values, (0, 0), spread) for values in (alike.astype(np.float32), small[0].astype(np.float32) - small[1])
    )
    low = ((alike < CHANGED) | (np.abs(drift).max(2) > TONE)).astype(np.uint8)
    if low.mean() >= WHOLE_AREA:
        return [np.ones(a.shape[:2], bool)]
    labels, count = label(low)
    sizes = np.bincount(labels.ravel(), minlength=count + 1) / low.size
    chosen = [part for part in sorted(range(1, count + 1), key=lambda part: -sizes[part]) if sizes[part] >= LEAST_AREA][:MOST]
    return [
        cv2.resize((labels == part).astype(np.uint8), a.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
        for part in chosen
    ]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of the blurred light of two images: distortions keep most of it, another picture has it by chance alone."""
    import cv2

    light = [cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 2).ravel() for image in (a, b)]
    spreads = [channel.std() for channel in light]
    return float(np.corrcoef(light[0], light[1])[0, 1]) if min(spreads) > 0 else 0.0


def similarity_map(a: np.ndarray, b: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Their similarity pixel by pixel, averaged to a smaller shape; by strips, for it takes many times the memory."""
    import cv2

    from iqaflow.iqa import mdsi

    rows = np.append(np.arange(0, shape[0], STRIP), shape[0])
    edges = (rows * len(a) / shape[0]).round().astype(int)
    return np.concatenate(
        [
            cv2.resize(mdsi.similarity(a[top:below], b[top:below]), (shape[1], end - start), interpolation=cv2.INTER_AREA)
            for (start, end), (top, below) in zip(pairwise(rows.tolist()), pairwise(edges), strict=True)
        ]
    )


def named_region(pixels: np.ndarray, mask: np.ndarray, grid: int) -> RegionPrompt:
    """A changed region, named by its colour; all of an image is the whole image."""
    name = grammar.WHOLE if mask.all() else f"{colour(pixels[mask][:: max(1, int(mask.sum()) // 4096)])} region"
    x0, y0, x1, y1 = map(float, bounds(mask))
    return RegionPrompt(name, (x0, y0, x1, y1), mask, [], grid)


def chance_higher(a: np.ndarray, b: np.ndarray) -> float:
    """The chance that a draw of rating words, worst first, from `a` is better than one from `b`; equal ones count half."""
    joint, at = np.outer(a, b), np.arange(len(a))
    return float(joint[at[:, None] > at[None, :]].sum() + 0.5 * np.trace(joint)) / float(joint.sum())

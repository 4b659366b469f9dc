"""Colour quantization: three ways to keep few values per channel (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from .pixels import GREYS, map_channels
from .registry import distortion

PHRASE = "color quantization"
NR_MIN_LEVEL = 2
FOLLOWED_BY = (
    "brighten",
    "contrast_strengthen",
    "contrast_weaken",
    "darken",
    "noise",
    "oversharpen",
    "pixelate",
    "saturate_strengthen",
    "saturate_weaken",
)

OTSU_BINS = 30


@distortion(levels=(15, 11, 8, 5, 3))
def quantization_otsu(image, classes, rng):
    """Multi-level Otsu thresholds per channel; number of classes."""
    return map_channels(
        image, *(_otsu_curve(np.bincount(c.ravel(), minlength=256), int(classes + 0.5)) for c in cv2.split(image))
    )


@distortion(levels=(20, 15, 10, 6, 3))
def quantization_median(image, colours, rng):
    """Median cut per channel; number of values."""
    channels = (Image.fromarray(channel) for channel in cv2.split(image))
    cut = (c.quantize(int(colours + 0.5), Image.Quantize.MEDIANCUT).convert("L") for c in channels)
    return np.stack([np.asarray(channel) for channel in cut], axis=-1)


@distortion(levels=(24, 16, 8, 6, 4))
def quantization_hist(image, bins, rng):
    """Even bins, their values spread by the histogram of all channels; number of bins."""
    bins = int(bins + 0.5)
    index = np.rint(GREYS / 255 * (bins - 1)).astype(int)
    counts = np.bincount(image.ravel(), minlength=256)
    total = np.histogram(GREYS, bins=bins, range=(0, 255), weights=counts)[0].cumsum()
    first = total[total > 0][0]
    if total[-1] == first:  # one bin holds everything: nothing to equalise
        return map_channels(image, index * 255 / (bins - 1))
    values = np.maximum(total - first, 0) * 255 / (total[-1] - first)
    return map_channels(image, values[index])


def _otsu_curve(counts, classes):
    """The map of 256 greys that multi-Otsu with a 30-bin histogram gives.

    Bins and thresholds follow skimage.filters.threshold_multiotsu, but the best split is found by dynamic programming:
    exact, in bins^2 x classes steps instead of one step per possible split.
    """
    present = np.flatnonzero(counts)
    low, high = present[0], present[-1]
    if low == high:
        return GREYS
    weights, edges = np.histogram(GREYS, bins=OTSU_BINS, range=(low, high), weights=counts)
    occupied = np.count_nonzero(weights)
    if occupied < classes:  # too few values for a split: every bin becomes its mean
        of_grey = np.clip(np.searchsorted(edges, GREYS, side="right") - 1, 0, OTSU_BINS - 1)
        sums = np.bincount(of_grey, weights=GREYS * counts * (GREYS >= low) * (GREYS <= high), minlength=OTSU_BINS)
        return (sums / np.maximum(weights, 1))[of_grey]
    if occupied == classes:
        last = np.flatnonzero(weights)[:-1]
    else:
        last = _best_split(weights, classes)
    thresholds = ((edges[:-1] + edges[1:]) / 2)[last]
    return np.digitize(GREYS, thresholds) * (high - low) / classes + low


def _best_split(weights, classes):
    """Last bin of each class but the final one, so that the variance between classes is largest."""
    bins = len(weights)
    mass = np.concatenate([[0], np.cumsum(weights)])
    moment = np.concatenate([[0], np.cumsum(weights * np.arange(bins))])
    # score[i, j]: what a class of bins i..j-1 adds
    in_class = mass[None, :] - mass[:, None]
    score = np.where(in_class > 0, (moment[None, :] - moment[:, None]) ** 2 / np.maximum(in_class, 1), 0.0)
    score[np.tril_indices(bins + 1)] = -np.inf  # a class has at least one bin

    best, starts = score[0], []
    for _ in range(classes - 1):
        candidates = best[:, None] + score
        starts.append(candidates.argmax(axis=0))
        best = candidates.max(axis=0)
    ends, end = [], bins
    for start in reversed(starts):
        end = start[end]
        ends.append(end - 1)
    return np.array(ends[::-1], dtype=int)

"""Colour quantization: three ways to keep few values per channel (DepictQA-Wild, table of distortions)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from iqaflow.distortions.pixels import GREYS, map_channels
from iqaflow.distortions.registry import distortion

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
def quantization_otsu(image: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """Multi-level Otsu thresholds per channel; number of classes."""
    return map_channels(image, *(_otsu_curve(counts, int(classes + 0.5)) for counts in _histograms(image)))


@distortion(levels=(20, 15, 10, 6, 3))
def quantization_median(image: np.ndarray, colours: int, rng: np.random.Generator) -> np.ndarray:
    """Median cut per channel; number of values."""
    return map_channels(image, *(_median_cut_curve(counts, int(colours + 0.5)) for counts in _histograms(image)))


@distortion(levels=(24, 16, 8, 6, 4))
def quantization_hist(image: np.ndarray, bins: int, rng: np.random.Generator) -> np.ndarray:
    """Even bins, their values spread by the histogram of all channels; number of bins."""
    bins = int(bins + 0.5)
    index = np.rint(GREYS / 255 * (bins - 1)).astype(int)
    counts = _histograms(image).sum(axis=0)
    total = np.histogram(GREYS, bins=bins, range=(0, 255), weights=counts)[0].cumsum()
    first = total[total > 0][0]
    if total[-1] == first:  # one bin holds everything: nothing to equalise
        return map_channels(image, index * 255 / (bins - 1))
    values = np.maximum(total - first, 0) * 255 / (total[-1] - first)
    return map_channels(image, values[index])


def _histograms(image: np.ndarray) -> np.ndarray:
    """How often each of 256 values occurs in R, G and B: int64, 3 x 256."""
    return np.array(Image.fromarray(image).histogram()).reshape(3, 256)


def _median_cut_curve(counts: np.ndarray, colours: int) -> np.ndarray:
    """The map of 256 greys that Pillow's median cut gives, from the histogram alone.

    The fullest box that still has two values is cut where more than half of its pixels, counted from the bright end,
    are on one side. A box is shown as its mean; a value that lies nearer to another box's mean takes that one.
    """
    values = np.flatnonzero(counts)[::-1]
    weights = counts[values]
    filled = np.concatenate([[0], weights.cumsum()])
    boxes = [(0, len(values))]  # of indices into values; later boxes are darker
    for _ in range(colours - 1):
        sizes = [filled[end] - filled[first] if end - first > 1 else 0 for first, end in boxes]
        size = max(sizes)
        if size == 0:
            break
        if sizes.count(size) > 1:  # which of them Pillow cuts hangs on its heap: let it decide
            return _median_cut_by_pillow(counts, colours)
        place = sizes.index(size)
        first, end = boxes[place]
        cut = int(np.searchsorted(2 * (filled - filled[first]), size, side="right"))
        cut = min(cut, end - 1)  # the dark side gets at least one value
        boxes[place : place + 1] = [(first, cut), (cut, end)]
    starts, ends = np.array(boxes).T
    sums = np.add.reduceat(values * weights, starts)
    means = np.floor(sums / (filled[ends] - filled[starts]) + 0.5)
    distance = np.abs(values[:, None] - means)
    distance[np.arange(len(values)), np.repeat(np.arange(len(boxes)), ends - starts)] -= 0.5  # a tie stays in its box
    curve = GREYS.copy()
    curve[values] = means[distance.argmin(axis=1)]
    return curve


def _median_cut_by_pillow(counts: np.ndarray, colours: int) -> np.ndarray:
    row = np.repeat(np.arange(256, dtype=np.uint8), counts)[None]
    curve = GREYS.copy()
    curve[row] = np.asarray(Image.fromarray(row).quantize(colours, Image.Quantize.MEDIANCUT).convert("L"))
    return curve


def _otsu_curve(counts: np.ndarray, classes: int) -> np.ndarray:
    """The map of 256 greys that multi-Otsu with a 30-bin histogram gives.

    Bins and thresholds follow skimage.filters.threshold_multiotsu in its single precision, but the best split is found
    by dynamic programming: bins^2 x classes steps instead of one step per possible split.
    """
    present = np.flatnonzero(counts)
    low, high = float(present[0]), float(present[-1])
    if low == high:
        return GREYS
    weights, edges = np.histogram(GREYS.astype(np.float32), bins=OTSU_BINS, range=(low, high), weights=counts)
    occupied = np.count_nonzero(weights)
    if occupied < classes:  # too few values for a split: every bin becomes its mean
        of_grey = np.clip(np.searchsorted(edges, GREYS, side="right") - 1, 0, OTSU_BINS - 1)
        sums = np.bincount(of_grey, weights=GREYS * counts, minlength=OTSU_BINS)
        return (sums / np.maximum(weights, 1))[of_grey]
    last = np.flatnonzero(weights)[:-1] if occupied == classes else _best_split(weights, classes)
    thresholds = ((edges[:-1] + edges[1:]) / 2)[last]
    return np.digitize(GREYS, thresholds) * (high - low) / classes + low


def _best_split(weights: np.ndarray, classes: int) -> np.ndarray:
    """Last bin of each class but the final one, so that the variance between classes is largest.

    As in scikit-image: single precision, the first of equals, and in a class that starts at the darkest bin that bin
    counts as bin 1 (it has no part in the moment otherwise), unless it is alone.
    """
    bins = len(weights)
    share = (weights / weights.sum()).astype(np.float32)
    mass = np.concatenate([[np.float32(0)], np.cumsum(share)])
    moment = np.concatenate([[np.float32(0)], np.cumsum(share * np.maximum(np.arange(bins), 1).astype(np.float32))])
    # score[i, j]: what a class of bins i..j-1 adds
    in_class = mass[None, :] - mass[:, None]
    score = np.divide((moment[None, :] - moment[:, None]) ** 2, in_class, out=np.zeros_like(in_class), where=in_class > 0)
    score[0, 1] = 0
    score[np.tril_indices(bins + 1)] = -np.inf  # a class has at least one bin

    score = score.astype(np.float64)
    best, ends = score[:, bins], []  # from the last class to the first, so that equals are decided from the first on
    for _ in range(classes - 1):
        candidates = score + best
        ends.append(candidates.argmax(axis=1))
        best = candidates.max(axis=1)
    last, start = [], 0
    for end in reversed(ends):
        start = end[start]
        last.append(start - 1)
    return np.array(last, dtype=int)

"""A region given by a person, as box, mask, point or phrase, in the words and cells the model understands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from iqaflow.core.errors import InputError
from iqaflow.data.masks import bounds
from iqaflow.infer.tiles import Part
from iqaflow.regions import Region, colour
from iqaflow.regions.superpixels import superpixels
from iqaflow.tasks import grammar

POINT_SEGMENTS = 12  # a point stands for the superpixel under it
POINT_SIDE = 256
MOST_LETTERS = 160  # of a phrase that a person gives
ROWS, COLUMNS = ({"top", "upper"}, {"bottom", "lower"}), ({"left"}, {"right"})
SHADES = {"dark", "light"}
COLOURS = {"black", "white", "gray", "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown"}


@dataclass(frozen=True)
class RegionPrompt:
    """A region to ask about: `box` in pixels, `mask` (H, W) bool, `points` (x, y); `grid` cells a side of the image as the model
    counts them; `confidence` that it is the region meant (None if a person gave it); `spoken` the phrase that alone was given.
    """

    label: str
    box: tuple[float, float, float, float]
    mask: np.ndarray
    points: list[tuple[float, float]]
    grid: int
    confidence: float | None = None
    spoken: str | None = None

    @property
    def cells(self) -> tuple[int, int]:
        """First and last cell of the box."""
        height, width = self.mask.shape
        return grammar.box_cells(self.box, width, height, self.grid)

    def named(self, width: int, height: int) -> str:
        """As the questions name regions: `[dark green region](<63, 190>) at the top left`, or a person's own phrase."""
        if self.spoken:
            return self.spoken
        vertical, horizontal = grammar.position(self.box, width, height)
        return f"{grammar.Place(self.label, *self.cells)} at the {vertical} {horizontal}"

    def within(self, part: Part) -> RegionPrompt:
        """The same region in a part of the image that holds some of it."""
        mask = part.of(self.mask)
        x0, y0, x1, y1 = map(float, bounds(mask))
        return replace(self, box=(x0, y0, x1, y1), mask=mask)


def region_prompt(
    pixels: np.ndarray,
    region: Sequence[float] | None,
    mask: np.ndarray | None,
    point: Sequence[float] | None,
    phrase: str | None,
    grid: int = grammar.GRID,
) -> RegionPrompt | None:
    """The one region a caller named, or None. A phrase beside another form is the region's name; alone it is put to the model
    as it is, and the mask is where its colour and position words fit. Raises InputError for a region outside the image, an
    empty mask, or two regions at once.
    """
    given = [name for name, value in (("region", region), ("mask", mask), ("point", point)) if value is not None]
    if len(given) > 1:
        raise InputError(f"Give one of --{' and --'.join(given)}, not both.")
    height, width = pixels.shape[:2]
    if mask is not None:
        if mask.shape != (height, width):
            raise InputError(f"The mask is {mask.shape[1]}x{mask.shape[0]}, the image {width}x{height}: give one of equal size.")
        if not mask.any():
            raise InputError("The mask selects nothing: mark the region white.")
        return _prompt(pixels, mask.astype(bool), phrase, grid)
    if point is not None:
        x, y = point
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"The point {x:g},{y:g} lies outside the image of {width}x{height}.")
        return _prompt(pixels, _around(pixels, int(x), int(y)), phrase, grid, (float(x), float(y)))
    if region is not None:
        x0, y0, x1, y1 = region
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputError(f"The region {x0:g},{y0:g},{x1:g},{y1:g} is not x0,y0,x1,y1 inside the image of {width}x{height}.")
        box = np.zeros((height, width), bool)
        box[int(y0) : max(int(np.ceil(y1)), int(y0) + 1), int(x0) : max(int(np.ceil(x1)), int(x0) + 1)] = True
        return _prompt(pixels, box, phrase, grid)
    if phrase:
        return replace(_prompt(pixels, located(pixels, phrase), phrase, grid), spoken=" ".join(phrase.split())[:MOST_LETTERS])
    return None


def located(pixels: np.ndarray, phrase: str) -> np.ndarray:
    """Mask (H, W) of what a phrase such as `dark green region at the top left` names by colour and position: the superpixel that
    fits it best, else the quarter or half its position words name, else the whole image. Names of things are not known here; the
    model reads the phrase itself.
    """
    height, width = pixels.shape[:2]
    words = set(re.findall(r"[a-z]+", phrase.lower().replace("grey", "gray")))
    rows, columns = ([at for at, names in enumerate(axis) if words & names] for axis in (ROWS, COLUMNS))
    place = np.zeros((height, width), bool)
    place[_half(rows, height), _half(columns, width)] = True
    if not words & COLOURS:
        return place

    def fit(region: Region) -> tuple[float, float]:
        named = set(region.label.split())
        wrong = len((named ^ words) & COLOURS) + 0.5 * len((named ^ words) & SHADES)
        inside = np.count_nonzero(region.mask & place) / np.count_nonzero(region.mask)
        return wrong - 2 * inside, -region.area

    fitting = [
        region for region in superpixels(pixels, POINT_SEGMENTS, (0.005, 1.0)) if set(region.label.split()) & words & COLOURS
    ]
    return min(fitting, key=fit).mask if fitting else place


def _half(at: list[int], full: int) -> slice:
    """The half of an axis that one word names; all of it for none or both."""
    return (slice(0, full // 2), slice(full // 2, full))[at[0]] if len(at) == 1 else slice(0, full)


def _prompt(
    pixels: np.ndarray, mask: np.ndarray, phrase: str | None, grid: int, point: tuple[float, float] | None = None
) -> RegionPrompt:
    box = bounds(mask)
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    label = " ".join((phrase or "").replace("[", "").replace("]", "").split())[:80] or f"{colour(pixels[mask])} region"
    x0, y0, x1, y1 = map(float, box)
    return RegionPrompt(label, (x0, y0, x1, y1), mask, [point or centre], grid)


def _around(pixels: np.ndarray, x: int, y: int) -> np.ndarray:
    import cv2
    from skimage.segmentation import slic

    height, width = pixels.shape[:2]
    scale = min(1.0, POINT_SIDE / max(height, width))
    small = cv2.resize(pixels, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    labels = slic(small, n_segments=POINT_SEGMENTS, compactness=12, sigma=1, start_label=0, channel_axis=-1)
    labels = cv2.resize(labels.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
    return labels == labels[y, x]

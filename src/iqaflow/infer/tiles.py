"""Large images at native detail: read tile by tile, pooled into one answer and one map, in bounded memory.

A model sees a few pixels of a large photograph: reduced to its budget, noise, grain and compression vanish. So an image far above
the budget is also cut into tiles that the model sees pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isqrt
from typing import NamedTuple

import numpy as np

from iqaflow.data.images import size_of
from iqaflow.engine.logit_lens import Lens
from iqaflow.engine.session import Engine, Prompt
from iqaflow.tasks import identify
from iqaflow.tasks import score as rating

FROM = 1.5  # times the budget: below it little is lost
TOGETHER = 12  # tiles encoded at once; more is no faster and takes memory


class Part(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def parts(height: int, width: int, budget: int) -> list[Part]:
    """Equal tiles that cover an image, none larger than `budget` pixels; one if the image is not far above it."""
    if not is_large(height, width, budget):
        return [Part(0, 0, height, width)]
    side = isqrt(budget)  # whole pixels: edges are rounded, and a tile a pixel too large would be reduced
    rows, columns = (np.linspace(0, full, int(np.ceil(full / side)) + 1).round().astype(int) for full in (height, width))
    return [
        Part(int(top), int(left), int(below - top), int(right - left))
        for top, below in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def is_large(height: int, width: int, budget: int) -> bool:
    return height * width > FROM * budget


class Mosaic:
    """What a model says of an image's tiles: `identify` (tiles, 13) and `ratings` (tiles, 5) log-probabilities over the closed
    sets, and the `lens` over all of them as one image; None if the model has none.
    """

    def __init__(self, engine: Engine, pixels: np.ndarray, most: int | None = None, reference: np.ndarray | None = None) -> None:
        """`most` reads that many tiles, evenly spread, where a pooled answer is enough; then there is no lens. A `reference` of
        the same size is shown beside every tile.
        """
        self.parts = parts(*size_of(pixels), engine.budget)
        if most and len(self.parts) > most:
            self.parts = [self.parts[int(at)] for at in np.linspace(0, len(self.parts) - 1, most).round()]
        named: list[np.ndarray] = []
        rated: list[np.ndarray] = []
        read: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(self.parts), TOGETHER):
            some = self.parts[start : start + TOGETHER]
            shown = [("image", pixels)] if reference is None else [("reference", reference), ("image", pixels)]
            session = engine.session(
                [[part.of(image) for _, image in shown] for part in some], [[role for role, _ in shown]] * len(some)
            )
            items = range(len(some))
            named.append(session.choose([Prompt(item, identify.plain_question(1)) for item in items], engine.vocabulary.names))
            rated.append(session.choose([Prompt(item, rating.plain_question()) for item in items], engine.vocabulary.ratings))
            if session.lens:
                read += zip(session.lens.chances, session.lens.severities, strict=True)
        self.identify, self.ratings = np.concatenate(named), np.concatenate(rated)
        whole = not most or len(self.parts) < most
        self.lens = None
        if read and whole:
            chances, severities = ([stitched(self.parts, tuple(pair[at] for pair in read))] for at in (0, 1))
            self.lens = Lens(chances, severities, engine.vocabulary)

    def pooled(self, chances: np.ndarray) -> np.ndarray:
        """Chances (13,) of the whole image from those of its tiles (tiles, 13): the quadratic mean for distortions, which a few
        tiles that are sure may decide, the plain mean for none. Chosen on large photographs with local and global flaws
        (docs/assess.md), where it is best to calibrate the tiles first.
        """
        values = np.append(np.sqrt((chances[:, :-1] ** 2).mean(0)), chances[:, -1].mean())
        return values / values.sum()

    def mean(self, chances: np.ndarray) -> np.ndarray:
        """The mean over tiles (tiles, k), weighed by their size."""
        return np.average(chances, axis=0, weights=[part.height * part.width for part in self.parts])

    def best(self, candidate: int) -> Part:
        """The tile that shows a candidate of `identify` most clearly."""
        return self.parts[int(self.identify[:, candidate].argmax())]


def stitched(parts_: list[Part], values: tuple[np.ndarray, ...]) -> np.ndarray:
    """Values (rows, columns, k) of the tiles' own grids, laid side by side as one grid."""
    import cv2

    def lines() -> Iterator[np.ndarray]:
        for top in sorted({part.top for part in parts_}):
            line = [value for part, value in zip(parts_, values, strict=True) if part.top == top]
            rows = max(len(value) for value in line)  # tiles of one line may differ by a row
            yield np.concatenate([cv2.resize(value, (value.shape[1], rows)) for value in line], axis=1)

    bands = list(lines())
    columns = max(line.shape[1] for line in bands)
    return np.concatenate([cv2.resize(line, (columns, line.shape[0])) for line in bands])


def crops(
    pixels: np.ndarray, box: tuple[float, float, float, float], mask: np.ndarray, budget: int, most: int = 4
) -> list[tuple[Part, float]]:
    """Where to look at a region of a large image at native detail, with the weight of each place: around the whole region if
    the model can see that pixel by pixel, else the tiles of it that the region fills most.
    """
    height, width = pixels.shape[:2]
    edges = []
    for low, high, full in ((box[1], box[3], height), (box[0], box[2], width)):
        margin = max((high - low) / 2, (128 - (high - low)) / 2, 0)
        edges.append((max(0, int(low - margin)), min(full, int(np.ceil(high + margin)))))
    (top, below), (left, right) = edges
    around = Part(top, left, below - top, right - left)
    inner = parts(around.height, around.width, budget)
    if len(inner) == 1:
        return [(around, 1.0)]
    moved = [part._replace(top=part.top + top, left=part.left + left) for part in inner]
    filled = sorted(((part, float(part.of(mask).sum())) for part in moved), key=lambda pair: -pair[1])[:most]
    return [(part, share) for part, share in filled if share > 0]

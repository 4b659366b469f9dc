"""Cut views from photographs and distort them, knowing exactly what was done where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from iqaflow import distortions, regions
from iqaflow.core.config.schema import Annotate
from iqaflow.data.images import encode_lossless
from iqaflow.data.masks import bounds
from iqaflow.distortions import SEVERITIES, SEVERITIES_PAIR
from iqaflow.iqa import mdsi
from iqaflow.regions import Region, Segments, Window
from iqaflow.tasks.ground import ORDERS
from iqaflow.tasks.scene import Area, Flaw, Scene, pick

FLAT = 0.012  # mean absolute gradient (0..1 scale) under which a view shows too little to judge
VISIBLE = 0.004  # least mean change (0..1 scale) that counts as a distortion at all
REACH = 2  # pixels around a change that `quality.similarity` may see it from
TRIES = 8  # draws before a region or an image is left as it is
SAME = 0.4  # share of two regions with one kind of distortion ("the strongest blur" has to compare), or with one pair reversed
THREE = 0.25  # share of ordered images with three regions, where there are so many


@dataclass(frozen=True)
class View:
    """Undistorted `pixels`, uint8 RGB (H, W, 3), and where in the photograph they are from."""

    pixels: np.ndarray
    window: Window

    @cached_property
    def encoded(self) -> bytes:
        """The pixels as they are stored."""
        return encode_lossless(self.pixels)


@dataclass(frozen=True)
class Annotated:
    """A distorted view: `image` uint8 RGB (H, W, 3), what it was made from, and its scene."""

    image: np.ndarray
    view: View
    scene: Scene

    @property
    def encoded(self) -> bytes:
        """The image as it is stored."""
        return self.view.encoded if self.image is self.view.pixels else encode_lossless(self.image)


def cut(photograph: np.ndarray, config: Annotate, rng: np.random.Generator) -> View:
    """A window of a random place and scale, reduced (never enlarged) to one of the sizes, perhaps mirrored.

    Nearly flat windows are drawn again, up to eight times. A photograph smaller than the view is enlarged to fit.
    """
    import cv2

    size = pick(rng, config.sizes_px)
    shape = photograph.shape[:2]
    least = max(side / full for side, full in zip(size, shape, strict=True))
    for _ in range(8):
        scale = max(rng.uniform(*config.scale), least)
        height, width = (min(round(side / scale), full) for side, full in zip(size, shape, strict=True))
        top, left = (int(rng.integers(full - part + 1)) for full, part in zip(shape, (height, width), strict=True))
        window = Window(top, left, height, width, (size[0], size[1]), bool(rng.random() < 0.5))
        pixels = window.pixels(photograph)
        light = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
        if np.abs(np.diff(light, axis=0)).mean() + np.abs(np.diff(light, axis=1)).mean() > 2 * FLAT:
            break
    return View(pixels, window)


def distort(view: View, segments: Segments | None, image_id: str, config: Annotate, rng: np.random.Generator) -> Annotated:
    """Distort a view by the construction rules of DepictQA-Wild (papers 3.2) and IQA-Spider (1.2): clean, globally by one
    distortion or an allowed ordered pair, inside one or two regions, or twice inside each of two or three; keep exact
    masks and full-reference scores. `segments` are those of the photograph, where it has any.
    """
    candidates = regions.of_view(view.pixels, view.window, segments, config, rng)
    flaws: list[Flaw] = []
    image = view.pixels
    if rng.random() >= config.clean:
        if rng.random() < config.local and candidates:
            if len(candidates) > 1 and rng.random() < config.ordered:
                image, flaws = _twice_inside(image, candidates, config, rng)
            if not flaws:
                image, flaws = _inside(image, candidates, config, rng)
        if not flaws:
            image, flaws = _everywhere(image, config, rng)
    similarity = _similarity(view.pixels, image)
    areas = tuple(
        Area(number, region.label, region.mask, region.box, mdsi.score(similarity[region.mask]))
        for number, region in enumerate(candidates)
    )
    height, width = image.shape[:2]
    return Annotated(image, view, Scene(image_id, width, height, mdsi.score(similarity), tuple(flaws), areas))


def alike(a: Scene, b: Scene) -> bool:
    """Whether two views have the same distortions at the same levels, so that comparing them says little (DepictQA-Wild
    draws such pairs again).
    """
    first, second = ({(flaw.category, flaw.level) for flaw in scene.flaws} for scene in (a, b))
    return bool(first) and first == second


def _everywhere(view: np.ndarray, config: Annotate, rng: np.random.Generator) -> tuple[np.ndarray, list[Flaw]]:
    if rng.random() < config.two:
        for _ in range(TRIES):
            categories = pick(rng, distortions.allowed_pairs())
            steps = [drawn_step(category, len(SEVERITIES_PAIR), rng) for category in categories]
            images = [view]
            for step in steps:
                images.append(distortions.apply(images[-1], step.name, step.level, rng, offset=_offset(rng)))
            if all(_seen(a, b) for a, b in pairwise(images)):
                return images[-1], [step.flaw(order, None, SEVERITIES_PAIR) for order, step in enumerate(steps)]
    for category in drawn_categories(rng):
        step = drawn_step(category, len(SEVERITIES), rng)
        image = distortions.apply(view, step.name, step.level, rng, offset=_offset(rng))
        if _seen(view, image):
            return image, [step.flaw(0, None, SEVERITIES)]
    return view, []


def _inside(
    view: np.ndarray, candidates: list[Region], config: Annotate, rng: np.random.Generator
) -> tuple[np.ndarray, list[Flaw]]:
    """One distortion in each of one or two regions."""
    count = 2 if len(candidates) > 1 and rng.random() < config.two else 1
    image, same = view, rng.random() < SAME
    flaws: list[Flaw] = []
    for region in map(int, rng.permutation(len(candidates))):
        for category in drawn_categories(rng):
            step = drawn_step(flaws[0].category if flaws and same else category, len(SEVERITIES), rng)
            changed = _applied(image, candidates[region].mask, step, config, rng)
            if region_score(view, changed, candidates[region]) <= config.visible:
                flaws.append(step.flaw(len(flaws), region, SEVERITIES))
                image = changed
                break
        if len(flaws) == count:
            break
    return image, flaws


def _twice_inside(
    view: np.ndarray, candidates: list[Region], config: Annotate, rng: np.random.Generator
) -> tuple[np.ndarray, list[Flaw]]:
    """Two distortions one after the other in each of two or three regions, in orders that differ and that people can tell
    apart (IQA-Spider, table of orders); nothing if the regions do not take them.
    """
    count = 3 if len(candidates) > 2 and rng.random() < THREE else 2
    first = pick(rng, ORDERS)
    # orders of the same distortions, so that it is the order that must be seen
    related = [pair for pair in ORDERS if pair != first and set(pair) & set(first)]
    wanted = [first, *(related[at] for at in rng.permutation(len(related)))][:count]
    if first[::-1] in ORDERS and rng.random() < SAME:
        wanted[1:2] = [first[::-1]]
        wanted = list(dict.fromkeys(wanted))
    image = view
    flaws: list[Flaw] = []
    for region in map(int, rng.permutation(len(candidates))):
        pair = wanted[len(flaws) // 2]
        for _ in range(TRIES):
            steps = [drawn_step(category, len(SEVERITIES_PAIR), rng) for category in pair]
            images = [image]
            for step in steps:
                images.append(_applied(images[-1], candidates[region].mask, step, config, rng))
            seen = all(_seen(a, b, candidates[region].mask) for a, b in pairwise(images))
            if seen and region_score(view, images[-1], candidates[region]) <= config.visible:
                flaws += [step.flaw(len(flaws) + at, region, SEVERITIES_PAIR) for at, step in enumerate(steps)]
                image = images[-1]
                break
        if len(flaws) == 2 * len(wanted):
            break
    return (image, flaws) if len(flaws) >= 4 else (view, [])


@dataclass(frozen=True)
class _Step:
    """A distortion as drawn."""

    category: str
    name: str
    level: int

    def flaw(self, order: int, region: int | None, severities: tuple[str, ...]) -> Flaw:
        return Flaw(self.name, self.category, self.level, severities[self.level - 1], order, region)


def drawn_step(category: str, most: int, rng: np.random.Generator) -> _Step:
    """A distortion of a category: function and level uniform."""
    return _Step(category, pick(rng, distortions.categories()[category].functions), int(rng.integers(1, most + 1)))


def drawn_categories(rng: np.random.Generator) -> Iterator[str]:
    """Categories to try, uniform. One that shows nothing gets three more functions and levels before another one is drawn,
    or the strong categories would be the frequent ones.
    """
    for _ in range(TRIES // 4):
        yield from [pick(rng, sorted(distortions.categories()))] * 4


def _applied(image: np.ndarray, mask: np.ndarray, step: _Step, config: Annotate, rng: np.random.Generator) -> np.ndarray:
    return distortions.apply_in_mask(image, mask, step.name, step.level, rng, config.feather_px, offset=_offset(rng))


def region_score(view: np.ndarray, image: np.ndarray, region: Region) -> float:
    """The full-reference score of one region, from its surroundings alone."""
    part = _around(region.box)
    return mdsi.score(mdsi.similarity(view[part], image[part])[region.mask[part]])


def _similarity(view: np.ndarray, image: np.ndarray) -> np.ndarray:
    """`quality.similarity` (H, W), computed only where something changed: elsewhere it is 1."""
    import cv2

    channels: Sequence[np.ndarray] = cv2.split(cv2.absdiff(view, image))
    red, green, blue = channels
    changed = (red | green | blue) != 0  # many times faster than (view != image).any(2)
    similarity = np.ones(changed.shape, np.float32)
    if changed.any():
        part = _around(bounds(changed))
        similarity[part] = mdsi.similarity(view[part], image[part])
    return similarity


def _around(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    x0, y0, x1, y1 = box
    return slice(max(y0 - REACH, 0), y1 + REACH), slice(max(x0 - REACH, 0), x1 + REACH)


def _offset(rng: np.random.Generator) -> tuple[int, int]:
    """Block grids start anywhere, as they do in cropped photographs."""
    return int(rng.integers(8)), int(rng.integers(8))


def _seen(before: np.ndarray, after: np.ndarray, mask: np.ndarray | None = None) -> bool:
    """Whether a distortion changed anything, inside a mask: saturation does nothing to grey, blur nothing to a clear sky."""
    import cv2

    change = cv2.mean(cv2.absdiff(before, after), None if mask is None else mask.view(np.uint8))
    return sum(change[:3]) / 3 / 255.0 > VISIBLE

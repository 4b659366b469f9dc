"""Cut views from photographs and distort them, knowing exactly what was done where."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from iqaflow import distortions
from iqaflow.annotate import quality
from iqaflow.data.regions import superpixels
from iqaflow.distortions import SEVERITIES, SEVERITIES_PAIR
from iqaflow.sections import Annotate
from iqaflow.tasks.scene import Area, Flaw, Scene, pick

FLAT = 0.012  # mean absolute gradient (0..1 scale) under which a view shows too little to judge
VISIBLE = 0.004  # least mean change (0..1 scale) that counts as a distortion at all


@dataclass(frozen=True)
class Annotated:
    """A distorted view: `image` and `reference` uint8 RGB (H, W, 3), and its scene."""

    image: np.ndarray
    reference: np.ndarray
    scene: Scene


def cut(photograph: np.ndarray, config: Annotate, rng: np.random.Generator) -> np.ndarray:
    """A view: a window of a random place and scale, reduced (never enlarged) to one of the sizes, perhaps mirrored.

    Nearly flat windows are drawn again, up to eight times. A photograph smaller than the view is enlarged to fit.
    """
    import cv2

    height, width = pick(rng, config.sizes_px)
    rows, columns = photograph.shape[:2]
    least = max(height / rows, width / columns)
    for _ in range(8):
        scale = max(rng.uniform(*config.scale), least)
        window = min(round(height / scale), rows), min(round(width / scale), columns)
        top, left = (int(rng.integers(full - part + 1)) for full, part in zip((rows, columns), window, strict=True))
        view = photograph[top : top + window[0], left : left + window[1]]
        view = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA if scale <= 1 else cv2.INTER_CUBIC)
        light = view.mean(2) / 255.0
        if np.abs(np.diff(light, axis=0)).mean() + np.abs(np.diff(light, axis=1)).mean() > 2 * FLAT:
            break
    return np.ascontiguousarray(view[:, ::-1] if rng.random() < 0.5 else view)


def distort(view: np.ndarray, image_id: str, config: Annotate, rng: np.random.Generator) -> Annotated:
    """Distort a view by the construction rules of DepictQA-Wild (papers 3.2): clean, globally by one or an allowed ordered
    pair, or inside one or two regions; keep exact masks and full-reference scores."""
    found = superpixels(view, int(rng.integers(config.segments[0], config.segments[1] + 1)), config.area)
    flaws: list[Flaw] = []
    image = view
    if rng.random() >= config.clean:
        if rng.random() < config.local and found:
            image = _inside_regions(view, found, flaws, config, rng)
        else:
            image = _everywhere(view, flaws, config, rng)
    similarity = quality.similarity(view, image)
    areas = tuple(
        Area(number, region.label, region.mask, region.box, quality.score(similarity[region.mask]))
        for number, region in enumerate(found)
    )
    scene = Scene(image_id, view.shape[1], view.shape[0], quality.score(similarity), tuple(flaws), areas)
    return Annotated(image, view, scene)


def _everywhere(view: np.ndarray, flaws: list[Flaw], config: Annotate, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < config.two:
        for _ in range(8):
            categories = pick(rng, distortions.allowed_pairs())
            steps = [(pick(rng, distortions.categories()[category].functions), category, int(rng.integers(1, 4)))
                     for category in categories]
            images = [view]
            for name, _, level in steps:
                images.append(distortions.apply(images[-1], name, level, rng, offset=_offset(rng)))
            if all(_seen(a, b) for a, b in pairwise(images)):
                flaws += [Flaw(name, category, level, SEVERITIES_PAIR[level - 1], order, None)
                          for order, (name, category, level) in enumerate(steps)]
                return images[-1]
    for _ in range(8):
        category, name, level = _drawn(rng)
        image = distortions.apply(view, name, level, rng, offset=_offset(rng))
        if _seen(view, image):
            flaws.append(Flaw(name, category, level, SEVERITIES[level - 1], 0, None))
            return image
    return view


def _inside_regions(view, found, flaws: list[Flaw], config: Annotate, rng: np.random.Generator) -> np.ndarray:
    count = 2 if len(found) > 1 and rng.random() < config.two else 1
    image, same = view, rng.random() < 0.4  # two regions of one kind, so that "the strongest blur" has to compare
    for region in rng.permutation(len(found)):
        mask = found[region].mask
        for _ in range(8):
            category, name, level = _drawn(rng)
            if flaws and same:
                category = flaws[0].category
                name = pick(rng, distortions.categories()[category].functions)
            changed = distortions.apply_in_mask(image, mask, name, level, rng, offset=_offset(rng))
            if quality.score(quality.similarity(view, changed)[mask]) <= config.visible:
                flaws.append(Flaw(name, category, level, SEVERITIES[level - 1], len(flaws), int(region)))
                image = changed
                break
        if len(flaws) == count:
            break
    return image


def _drawn(rng: np.random.Generator) -> tuple[str, str, int]:
    category = pick(rng, sorted(distortions.categories()))
    return category, pick(rng, distortions.categories()[category].functions), int(rng.integers(1, 6))


def _offset(rng: np.random.Generator) -> tuple[int, int]:
    """Block grids start anywhere, as they do in cropped photographs."""
    return int(rng.integers(8)), int(rng.integers(8))


def _seen(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a distortion changed anything: saturation does nothing to grey, blur nothing to a clear sky."""
    return float(np.abs(after.astype(np.int16) - before).mean()) / 255.0 > VISIBLE

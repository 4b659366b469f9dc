"""35 image distortions in 12 categories, 5 levels each.

Source: DepictQA-Wild (arXiv 2405.18842), table of distortions. Images are uint8 arrays, H x W x 3, RGB, at least
32 px per side. A category is one module of this package, found by listing; the modules are imported on first use.
"""

from __future__ import annotations

import numbers

import numpy as np

from iqaflow.distortions.registry import Category, Distortion, load

__all__ = [
    "MIN_SIDE",
    "SEVERITIES",
    "SEVERITIES_PAIR",
    "Category",
    "allowed_pairs",
    "apply",
    "apply_in_mask",
    "categories",
    "category_of",
    "names",
    "phrase",
]

MIN_SIDE = 32
SEVERITIES = ("slight", "moderate", "obvious", "serious", "catastrophic")  # levels 1..5
SEVERITIES_PAIR = ("slight", "obvious", "serious")  # levels 1..3, when two distortions are combined


def categories() -> dict[str, Category]:
    """All categories by id (DepictQA-Wild, table of distortions)."""
    return dict(load()[0])


def names() -> list[str]:
    """The names of all distortion functions, sorted."""
    return list(load()[1])


def category_of(name: str) -> str:
    """The category id of a distortion; ValueError if the name is unknown."""
    return _distortion(name).category


def phrase(category: str) -> str:
    """The words an answer uses for a category id; ValueError if the id is unknown."""
    known = load()[0]
    if category not in known:
        raise ValueError(f"unknown category {category!r}, expected one of {', '.join(known)}")
    return known[category].phrase


def allowed_pairs() -> list[tuple[str, str]]:
    """The 78 ordered pairs (first, second) of category ids that may be combined (DepictQA-Wild, table of allowed pairs)."""
    return [(first.id, second) for first in load()[0].values() for second in first.followed_by]


def apply(
    image: np.ndarray, name: str, level: float, rng: np.random.Generator | None = None, *, offset: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Distort an image (DepictQA-Wild, table of distortions).

    image: uint8, H x W x 3, RGB, both sides >= 32; it is not changed.
    name: one of `names()`.
    level: 1 (slight) to 5 (catastrophic); between whole levels the parameters are interpolated.
    rng: the only source of randomness; None means a fresh, unseeded one.
    offset: (dy, dx) in pixels, moves the block grid of JPEG, JPEG 2000 and pixelate; no effect on the others.

    Returns a new array of the same shape and type. Raises ValueError on a bad argument.
    """
    function = _distortion(name)
    image = _checked_image(image)
    if isinstance(level, bool) or not isinstance(level, numbers.Real) or not 1 <= level <= len(SEVERITIES):
        raise ValueError(f"level is {level!r}, expected a number from 1 to {len(SEVERITIES)}")
    if rng is None:
        rng = np.random.default_rng()
    elif not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng is a {type(rng).__name__}, expected a numpy.random.Generator or None")
    dy, dx = _checked_offset(offset, image.shape)
    if not function.blocks or not (dy or dx):
        return function.run(image, function.value(level), rng)
    # the corner of the grid moves out of the image by (dy, dx)
    padded = np.pad(image, ((dy, 0), (dx, 0), (0, 0)), mode="reflect")
    return function.run(padded, function.value(level), rng)[dy:, dx:].copy()


def apply_in_mask(
    image: np.ndarray,
    mask: np.ndarray,
    name: str,
    level: float,
    rng: np.random.Generator | None = None,
    feather: float = 0.0,
    *,
    offset: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Distort an image inside a mask only; every other pixel keeps its exact value.

    mask: bool, H x W, True where the distortion shows. The distortion sees the whole image, so its statistics and
    its grid are those of `apply`.
    feather: width in pixels of the soft border, which lies inside the mask; 0 is a hard edge.

    Other arguments, result and errors are those of `apply`.
    """
    image = _checked_image(image)
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != image.shape[:2]:
        given = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(f"mask is {given}, expected a bool array of the image's height and width")
    if isinstance(feather, bool) or not isinstance(feather, numbers.Real) or not 0 <= feather < np.inf:
        raise ValueError(f"feather is {feather!r}, expected a number of pixels >= 0")
    import cv2

    distorted = apply(image, name, level, rng, offset=offset)
    if feather == 0 or not mask.any() or mask.all():  # with no edge there is nothing to feather
        return cv2.copyTo(distorted, np.ascontiguousarray(mask).view(np.uint8), image.copy())

    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    alpha = np.minimum(1.0, inside / (1.0 + feather))[..., None]
    return np.rint(image + alpha * (distorted.astype(np.float32) - image)).astype(np.uint8)


def _distortion(name: str) -> Distortion:
    known = load()[1]
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"unknown distortion {name!r}, expected one of {', '.join(known)}")
    return known[name]


def _checked_image(image: np.ndarray) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image is {given}, expected a uint8 array of shape (height, width, 3)")
    if min(image.shape[:2]) < MIN_SIDE:
        raise ValueError(f"image is {image.shape[1]} x {image.shape[0]} px, expected at least {MIN_SIDE} per side")
    return np.ascontiguousarray(image)


def _checked_offset(offset: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
    valid = isinstance(offset, (tuple, list)) and len(offset) == 2
    valid = valid and all(isinstance(o, numbers.Integral) and 0 <= o < shape[axis] for axis, o in enumerate(offset))
    if not valid:
        raise ValueError(f"offset is {offset!r}, expected two whole numbers (dy, dx), each from 0 to below the side")
    return int(offset[0]), int(offset[1])

"""What regions are called: the name of their class in plain words where it is known, else their colour.

The questions add where a region lies ("at the top left"). Only regions that even this does not tell apart are compared
by size or height: "larger dog".
"""

from __future__ import annotations

import colorsys
import functools
import re
from collections.abc import Sequence

import numpy as np

LONGEST = 40  # characters of a name
SAMPLE = 4096  # pixels are enough for the colour of a part
CLEARLY = 1.5  # how many times larger a region must be to be called larger
APART = 0.15  # how far apart in height, as a share of the view, two regions must be to be called upper and lower
# what COCO's names do not say plainly by rule
PLAIN = {
    "playingfield": "playing field",
    "tv": "television",
    "hair drier": "hair dryer",
    "floor-wood": "wooden floor",
    "wall-wood": "wooden wall",
    "wall-tile": "tiled wall",
    "floor-tile": "tiled floor",
    "ceiling-tile": "tiled ceiling",
}
SURFACES = ("wall", "floor", "ceiling")  # "wall-brick" is a brick wall
PLURALS = {
    "person": "people",
    "sheep": "sheep",
    "knife": "knives",
    "mouse": "mice",
    "man": "men",
    "woman": "women",
    "child": "children",
    "skis": "skis",
    "scissors": "scissors",
    "broccoli": "broccoli",
    "shelf": "shelves",
}


def colour(pixels: np.ndarray) -> str:
    """A plain colour name for uint8 RGB pixels (N, 3), such as `dark green`."""
    red, green, blue = np.median(pixels, axis=0) / 255.0
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if value < 0.15:
        return "black"
    if saturation < 0.18:
        return "white" if value > 0.85 else "light gray" if value > 0.6 else "gray" if value > 0.35 else "dark gray"
    names = (
        (20, "red"),
        (45, "orange"),
        (70, "yellow"),
        (165, "green"),
        (200, "cyan"),
        (260, "blue"),
        (300, "purple"),
        (340, "pink"),
        (361, "red"),
    )
    name = next(name for limit, name in names if hue * 360 < limit)
    if name in ("orange", "red") and value < 0.6 and hue * 360 < 45:
        name = "brown"
    return f"{'dark ' if value < 0.4 else 'light ' if value > 0.8 and saturation < 0.45 else ''}{name}"


def described(view: np.ndarray, mask: np.ndarray) -> str:
    """`dark green region`, from the pixels of a uint8 RGB view (H, W, 3) under a mask (H, W)."""
    pixels = view[mask]
    return f"{colour(pixels[:: max(1, len(pixels) // SAMPLE)])} region"


@functools.lru_cache(maxsize=4096)
def plain(name: str) -> str | None:
    """A class name as people say it: `sky-other-merged` is sky, `wall-brick` brick wall, `traffic_light` traffic light;
    of synonyms the first. None if nothing is left or the answers' grammar would read the name as a verdict ("top", "noise").
    """
    from iqaflow.tasks import grammar

    words = re.split(r"[,;(/]", name.strip().lower())[0].replace("_", " ").strip()
    words = re.sub(r"(-(merged|other|stuff))+$", "", words)
    surface, _, kind = words.partition("-")
    words = PLAIN.get(words) or (f"{kind} {surface}" if kind and surface in SURFACES else words)
    words = " ".join(re.sub(r"[^\w' ]+", " ", words).split())
    read = grammar.parse(words)
    verdict = (read.categories, read.rating, read.better, read.vertical, read.horizontal, read.whole, grammar.spans(words))
    if not words or len(words) > LONGEST or any(verdict) or read.affirmed is not None:
        return None
    return words


def crowd(name: str) -> str:
    """`group of people`, from `person`."""
    head, _, last = name.rpartition(" ")
    many = PLURALS.get(last) or f"{last}{'es' if last.endswith(('s', 'sh', 'ch', 'x')) else 's'}"
    return f"group of {head} {many}" if head else f"group of {many}"


def distinguished(
    names: Sequence[str], areas: Sequence[float], boxes: Sequence[tuple[int, int, int, int]], size: tuple[int, int]
) -> list[str]:
    """Labels of the regions of one view of `size` (height, width): their names, and a word more for those that have both
    name and position words in common.
    """
    from iqaflow.tasks import grammar

    groups: dict[tuple[str, ...], list[int]] = {}
    for at, (name, box) in enumerate(zip(names, boxes, strict=True)):
        groups.setdefault((name, *grammar.position(box, size[1], size[0])), []).append(at)
    labels = list(names)
    for group in groups.values():
        if len(group) < 2:
            continue
        by_area = sorted(group, key=lambda at: -areas[at])
        words = ("larger", "smaller") if len(group) == 2 else ("largest", "smallest")
        first, last = by_area[0], by_area[-1]
        if areas[first] >= CLEARLY * areas[by_area[1]]:
            labels[first] = f"{words[0]} {names[first]}"
        if areas[by_area[-2]] >= CLEARLY * areas[last]:
            labels[last] = f"{words[1]} {names[last]}"
        if len(group) == 2 and labels[first] == labels[last]:
            upper, lower = sorted(group, key=lambda at: boxes[at][1] + boxes[at][3])
            if boxes[lower][1] + boxes[lower][3] - boxes[upper][1] - boxes[upper][3] >= 2 * APART * size[0]:
                labels[upper], labels[lower] = f"upper {names[upper]}", f"lower {names[lower]}"
    return labels

"""Tags on a picture: the number of a region and what is wrong there, readable, never over each other, never leaving it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iqaflow.draw.marks import INK, Box, colour

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

WIDEST = 0.5  # of the picture; a wider tag hides too much of it, so fewer words are said


@dataclass(frozen=True)
class Tagged:
    """A region to tag: what may be said of it, most first; its box and its point, if one is drawn, in pixels of the picture."""

    words: Sequence[str]
    box: Box
    point: tuple[float, float] | None


def write(pen: ImageDraw.ImageDraw, regions: Sequence[Tagged], font: ImageFont.FreeTypeFont) -> None:
    """A tag per region, each where `placed` finds room."""
    pad, tall = _sizes(font)
    for at, spot, text in placed(regions, font, *pen.im.size):
        pen.rectangle(spot, fill=INK)
        pen.rectangle((spot[0], spot[1], spot[0] + tall // 3, spot[3]), fill=colour(at))
        pen.text((spot[0] + tall // 3 + pad, spot[1] + tall / 2), text, fill=(255, 255, 255), font=font, anchor="lm")


def placed(regions: Sequence[Tagged], font: ImageFont.FreeTypeFont, width: int, height: int) -> list[tuple[int, Box, str]]:
    """Region, place and text of each tag: its number with as many words as there is room for, where it hides least of other
    regions. A picture full of tags gets no more.
    """
    pad, tall = _sizes(font)
    reach = font.size // 2 + 2  # of a point's mark
    taken: list[Box] = [
        (x - reach, y - reach, x + reach, y + reach) for x, y in (region.point for region in regions if region.point)
    ]
    out = []
    for at, region in enumerate(regions):
        others = [region.box for number, region in enumerate(regions) if number != at]
        for words in (*region.words, ""):
            text = f"{at + 1} {words}".strip()
            wide = font.getlength(text) + 2 * pad + tall // 3
            if words and wide > WIDEST * width:
                continue
            free = [spot for spot in _near(region, wide, tall, reach + pad) if _fits(spot, taken, width, height)]
            spot = min(free, key=lambda spot: sum(_shared(spot, box) for box in others)) if free else None
            if not spot and not words:  # the number must find a place
                spot = next(
                    (spot for spot in _anywhere(region.box, wide, tall, width, height) if _fits(spot, taken, width, height)), None
                )
            if spot:
                taken.append(spot)
                out.append((at, spot, text))
                break
    return out


def _sizes(font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """Padding and height of a tag."""
    pad = max(3, int(font.size) // 4)
    return pad, int(font.size) + 2 * pad


def _near(region: Tagged, wide: float, tall: int, gap: float) -> Iterator[Box]:
    """Beside the point, then around and inside the box."""
    x0, y0, x1, y1 = region.box
    if region.point:
        x, y = region.point
        across, along = gap + wide / 2, gap + tall / 2
        for dx, dy in ((across, 0), (-across, 0), (0, along), (0, -along)):
            yield x + dx - wide / 2, y + dy - tall / 2, x + dx + wide / 2, y + dy + tall / 2
    right, bottom = x1 - wide - 1, y1 - tall - 1
    for x, y in (
        (x0, y0 - tall),
        (x0, y1),
        (x0, bottom),
        (right, y0 - tall),
        (right, y1),
        (right, bottom),
        (x1, y0),
        (x0 - wide, y0),
        (x0, y0),
        (right, y0),
    ):
        yield x, y, x + wide, y + tall


def _anywhere(box: Box, wide: float, tall: int, width: int, height: int) -> list[Box]:
    """A grid of spots, those nearest to a box first."""
    spots = [(x, y, x + wide, y + tall) for x in range(0, width, tall) for y in range(0, height, tall)]
    return sorted(spots, key=lambda spot: abs(spot[0] - box[0]) + abs(spot[1] - box[1]))


def _fits(spot: Box, taken: Sequence[Box], width: int, height: int) -> bool:
    if spot[0] < 0 or spot[1] < 0 or spot[2] > width - 1 or spot[3] > height - 1:
        return False
    return all(spot[2] < box[0] or box[2] < spot[0] or spot[3] < box[1] or box[3] < spot[1] for box in taken)


def _shared(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))

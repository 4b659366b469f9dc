"""Draw an assessment on its image: regions tinted and outlined, boxes, points, and every word readable.

    iqaflow assess photo.jpg --overlay out/

Colours are Okabe and Ito's, distinguishable with any colour vision; regions are numbered too, so colour never has to be
told apart. Tags on the picture are short and never overlap or leave it; the panel below says everything in full.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (213, 94, 0), (0, 158, 115), (240, 228, 66), (0, 114, 178), (204, 121, 167),
)
INK, PAPER, FAINT = (22, 22, 26), (250, 250, 247), (110, 110, 116)
SHORT_PX, LONG_PX = 480, 1600  # small pictures are enlarged towards the first, but not beyond the second


def draw(image: np.ndarray, assessment: dict[str, Any]) -> np.ndarray:
    """A uint8 RGB picture of `assessment` (`iqaflow.assessment/1`, coordinates in pixels of `image`, (H, W, 3) uint8).

    Small images are enlarged by a whole factor with their pixels kept square, large ones keep their size; the panel
    lies below. Missing parts of the assessment are left out.
    """
    from PIL import Image

    regions = [region for region in assessment.get("regions") or [] if isinstance(region, dict)]
    picture = mark(image, regions)
    height, width = picture.shape[:2]
    text_px = _text_px(height, width)
    panel = _panel(assessment, regions, max(width, 26 * text_px), text_px)
    page = Image.new("RGB", (panel.width, height + panel.height), PAPER)
    page.paste(Image.fromarray(picture), (0, 0))
    page.paste(panel, (0, height))
    return np.asarray(page).copy()


def mark(image: np.ndarray, regions: Sequence[dict[str, Any]]) -> np.ndarray:
    """The picture of `draw` without its panel: the regions on the image, enlarged by `enlargement`."""
    from PIL import Image, ImageDraw

    factor = enlargement(*image.shape[:2])
    canvas = np.repeat(np.repeat(image[:, :, :3], factor, 0), factor, 1)
    text_px = _text_px(*canvas.shape[:2])
    line_px = max(2, text_px // 8)
    masks = [_mask(region, image.shape[:2], factor) for region in regions]
    for at, mask in enumerate(masks):
        if mask is not None and not mask.all():
            tint(canvas, mask, colour(at), 0.32)
    for at, (region, mask) in enumerate(zip(regions, masks, strict=True)):
        if mask is not None and not mask.all():
            outline(canvas, mask, colour(at), line_px)
        if box := _box(region, factor):
            # a mask says where exactly, so its box needs only its corners
            rectangle(canvas, box, colour(at), line_px, corners=mask is not None and not mask.all())
    for at, region in enumerate(regions):
        for x, y in reversed(region.get("points") or []):
            marker(canvas, (x * factor, y * factor), colour(at), max(6, round(0.4 * text_px)))
    picture = Image.fromarray(canvas)
    _tags(ImageDraw.Draw(picture), regions, masks, factor, typeface(text_px))
    return np.asarray(picture).copy()


def _text_px(height: int, width: int) -> int:
    return max(15, round(0.021 * (height * width) ** 0.5))


def enlargement(height: int, width: int) -> int:
    """Whole factor that makes a small picture large enough to write on."""
    return max(1, min(-(-SHORT_PX // min(height, width)), LONG_PX // max(height, width)))


def tint(canvas: np.ndarray, mask: np.ndarray, colour: Colour, strength: float) -> None:
    """Mix `colour` into the canvas (H, W, 3) uint8 where the mask (H, W) is true, in place."""
    table = np.arange(256)[:, None] * (1 - strength) + np.array(colour) * strength
    mixed = table.round().astype(np.uint8).T  # (3, 256)
    for top in range(0, len(canvas), 512):  # in strips, so that a large picture needs no second copy
        strip, part = canvas[top : top + 512], mask[top : top + 512, :, None]
        blend = np.dstack([mixed[at][strip[:, :, at]] for at in range(3)])
        np.copyto(strip, blend, where=part)


def outline(canvas: np.ndarray, mask: np.ndarray, colour: Colour, width_px: int) -> None:
    """Draw the border of a mask in place: `colour` on a dark casing, seen on any background."""
    import cv2

    # OpenCV draws along pixel centres of the border inside the mask
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for ink, thick in ((INK, width_px + 2), (colour, width_px)):
        cv2.drawContours(canvas, contours, -1, ink, thick, lineType=cv2.LINE_AA)


def rectangle(canvas: np.ndarray, box: Box, colour: Colour, width_px: int, corners: bool = False) -> None:
    """Draw a box (x0, y0, x1, y1; right and bottom exclusive), or only its corners, in place, kept on the canvas."""
    import cv2

    height, width = canvas.shape[:2]
    inset = width_px // 2 + 1
    x0, x1 = (int(np.clip(round(value), inset, width - 1 - inset)) for value in (box[0], box[2] - 1))
    y0, y1 = (int(np.clip(round(value), inset, height - 1 - inset)) for value in (box[1], box[3] - 1))
    arm_x, arm_y = (min(6 * width_px, side // 2) if corners else side // 2 + 1 for side in (x1 - x0, y1 - y0))
    for ink, thick in ((INK, width_px + 2), (colour, width_px)):
        for x, inward_x in ((x0, arm_x), (x1, -arm_x)):
            for y, inward_y in ((y0, arm_y), (y1, -arm_y)):
                cv2.line(canvas, (x, y), (x + inward_x, y), ink, thick)
                cv2.line(canvas, (x, y), (x, y + inward_y), ink, thick)


def marker(canvas: np.ndarray, point: tuple[float, float], colour: Colour, radius_px: int) -> None:
    """Draw a point in place: a disc in `colour` inside a white and a dark ring."""
    import cv2

    x, y = (int(np.clip(round(value), 0, side - 1)) for value, side in zip(point, canvas.shape[1::-1], strict=True))
    inner = radius_px - max(2, radius_px // 4)
    for ink, radius in ((INK, radius_px + 2), ((255, 255, 255), radius_px), (colour, inner)):
        cv2.circle(canvas, (x, y), radius, ink, -1, lineType=cv2.LINE_AA)


@functools.lru_cache(maxsize=32)
def typeface(size_px: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: many scripts, the same shapes on every machine."""
    from PIL import ImageFont

    home = Path(importlib.util.find_spec("matplotlib").submodule_search_locations[0])
    return ImageFont.truetype(home / f"mpl-data/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", size_px)


def wrap(text: str, font: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """Lines no wider than `width_px`; a word that is wider is broken."""
    lines, line = [], ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width_px:
            lines.append(line)
            line = ""
        else:
            word = f"{line} {word}" if line else word
        while font.getlength(word) > width_px and len(word) > 1:
            fits = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or font.getlength(word[:n]) <= width_px)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


def faults(distortions: Iterable[Any], confidence: bool = True) -> str:
    """`serious blur 92%, slight noise` from the distortions of an assessment or a region."""
    parts = []
    for entry in distortions or []:
        entry = {"category": entry} if isinstance(entry, str) else entry
        words = f"{entry.get('severity') or ''} {_phrase(entry.get('category'))}".strip()
        sure = next((entry[key] for key in ("confidence", "probability") if entry.get(key) is not None), None)
        parts.append(f"{words} {percent(sure)}" if confidence and sure is not None else words)
    return ", ".join(part for part in parts if part)


def _phrase(category: Any) -> str:
    from iqaflow.distortions import categories

    known = categories().get(str(category or ""))
    return known.phrase if known else plain(category)


def _tags(pen: ImageDraw.ImageDraw, regions: Sequence[dict[str, Any]], masks: Sequence[np.ndarray | None], factor: int,
          font: ImageFont.FreeTypeFont) -> None:
    """A tag per region where there is room: number and faults, else the number alone."""
    width, height = pen.im.size
    pad = max(3, font.size // 4)
    tall, gap = font.size + 2 * pad, font.size // 2 + 2 + pad
    reach = font.size // 2 + 2  # of a marker
    taken: list[Box] = [
        (x * factor - reach, y * factor - reach, x * factor + reach, y * factor + reach)
        for region in regions for x, y in region.get("points") or []
    ]
    for at, region in enumerate(regions):
        x0, y0, x1, y1 = _box(region, factor) or _bounds(masks[at]) or (0, 0, width, height)
        found = region.get("distortions") or []
        said = (faults(found) or plain(region.get("label")), faults(found, False), faults(found[:1], False), "")
        for text in (f"{at + 1} {words}".strip() for words in said):
            wide = font.getlength(text) + 2 * pad + tall // 3
            corners = [(x0, y0 - tall), (x0, y1), (x0, y0), (x1 - wide, y0 - tall), (x1 - wide, y1), (x1 - wide, y0),
                       (x1, y0), (x0 - wide, y0), (x0, y1 - tall), (x1 - wide, y1 - tall)]
            if masks[at] is not None:  # a mask's point lies on it, a box may hold much else
                corners = [(px * factor + side * (gap + wide / 2) - wide / 2,
                            py * factor + rise * (gap + tall / 2) - tall / 2)
                           for px, py in (region.get("points") or [])[:1]
                           for side, rise in ((1, 0), (-1, 0), (0, 1), (0, -1))] + corners
            spots = [(x, y, x + wide, y + tall) for x, y in corners]
            if text == str(at + 1):  # the number must find a place: anywhere near
                anywhere = ((x, y, x + wide, y + tall) for x in range(0, width, tall) for y in range(0, height, tall))
                spots += sorted(anywhere, key=lambda spot: abs(spot[0] - x0) + abs(spot[1] - y0))
            spot = next((spot for spot in spots if _free(spot, taken, width, height)), None)
            if spot:
                taken.append(spot)
                pen.rectangle(spot, fill=INK)
                pen.rectangle((spot[0], spot[1], spot[0] + tall // 3, spot[3]), fill=colour(at))
                at_text = spot[0] + tall // 3 + pad, spot[1] + tall / 2
                pen.text(at_text, text, fill=(255, 255, 255), font=font, anchor="lm")
                break


def _free(spot: Box, taken: Sequence[Box], width: int, height: int) -> bool:
    if spot[0] < 0 or spot[1] < 0 or spot[2] > width - 1 or spot[3] > height - 1:
        return False
    return all(spot[2] < box[0] or box[2] < spot[0] or spot[3] < box[1] or box[3] < spot[1] for box in taken)


def _panel(assessment: dict[str, Any], regions: Sequence[dict[str, Any]], width: int, text_px: int) -> Any:
    """Everything in words, wrapped to `width`."""
    from PIL import Image, ImageDraw

    regular, bold = typeface(text_px), typeface(text_px, True)
    pad, swatch = text_px, round(2.2 * text_px)
    rows: list[tuple[Colour | None, str, ImageFont.FreeTypeFont, str]] = []
    score = assessment.get("score") or {}
    if score.get("value") is not None:
        level = f" ({plain(score['level'])})" if score.get("level") else ""
        rows.append((None, f"Quality {score['value']:.2f}{level}{_sure(score.get('confidence'))}", bold, ""))
    found = faults(assessment.get("distortions") or [])
    if found or "distortions" in assessment:
        rows.append((None, f"Image: {found or 'no distortion'}", regular, ""))
    for at, region in enumerate(regions):
        said = faults(region.get("distortions") or [])
        parts = [part for part in (plain(region.get("label")), said) if part]
        score = region.get("score")
        score = score.get("value") if isinstance(score, dict) else score
        value = f"; quality {score:.2f}" if score is not None else ""
        text = f"{': '.join(parts) or 'region'}{value}{_sure(region.get('confidence'), 'place ')}"
        rows.append((colour(at), text, regular, str(at + 1)))
    if not rows:
        return Image.new("RGB", (width, 0), PAPER)
    wrapped = [(ink, wrap(text, font, width - 2 * pad - (swatch if ink else 0)), font, number)
               for ink, text, font, number in rows]
    step = round(1.4 * text_px)
    height = 2 * pad + sum(step * len(lines) + step // 4 for _, lines, _, _ in wrapped)
    panel = Image.new("RGB", (width, height), PAPER)
    pen, y = ImageDraw.Draw(panel), pad
    for ink, lines, font, number in wrapped:
        if ink:
            pen.rectangle((pad, y + 1, pad + round(1.7 * text_px), y + step - 2), fill=INK)
            pen.rectangle((pad, y + 1, pad + round(0.4 * text_px), y + step - 2), fill=ink)
            pen.text((pad + round(1.05 * text_px), y + step / 2), number, fill=(255, 255, 255), font=bold, anchor="mm")
        for line in lines:
            pen.text((pad + (swatch if ink else 0), y + step / 2), line, fill=INK, font=font, anchor="lm")
            y += step
        y += step // 4
    return panel


def _mask(region: dict[str, Any], size: tuple[int, int], factor: int) -> np.ndarray | None:
    from iqaflow.data.tables import decode_mask

    if not region.get("mask_rle"):
        return None
    mask = decode_mask(region["mask_rle"])
    if mask.shape != size:  # made at another resolution
        rows, columns = (np.arange(side) * have // side for side, have in zip(size, mask.shape, strict=True))
        mask = mask[rows][:, columns]
    mask = np.repeat(np.repeat(mask, factor, 0), factor, 1)
    return mask if mask.any() else None


def _box(region: dict[str, Any], factor: int) -> Box | None:
    box = region.get("box_xyxy")
    return tuple(float(value) * factor for value in box) if box is not None and len(box) == 4 else None


def _bounds(mask: np.ndarray | None) -> Box | None:
    if mask is None:
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def colour(at: int) -> Colour:
    """Of the region with this number, counted from 0."""
    return PALETTE[at % len(PALETTE)]


def percent(share: float) -> str:
    """`92%` from 0.92."""
    return f"{100 * float(share):.0f}%"


def _sure(share: Any, what: str = "") -> str:
    return f", {what}{percent(share)} sure" if share is not None else ""


def plain(text: Any) -> str:
    """One printable line of at most 120 characters: models and users write labels."""
    clean = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text or "")).split())
    return clean if len(clean) <= 120 else clean[:119] + "…"

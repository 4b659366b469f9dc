"""Draw an assessment on its image: regions tinted and outlined, boxes, points, and every word readable.

    iqaflow assess photo.jpg --overlay out/

Regions are numbered, so colour never has to be told apart. Tags on the picture are short and never overlap or leave it; the
panel below says everything in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow.data.masks import bounds, contains, decode_mask
from iqaflow.draw import labels as tags
from iqaflow.draw.marks import INK, PAPER, Box, Colour, colour, marker, outline, rectangle, tint
from iqaflow.draw.text import faults, percent, plain, typeface, wrap

if TYPE_CHECKING:
    from PIL import ImageFont

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


def mark(image: np.ndarray, regions: Sequence[dict[str, Any]], letters: float = 1.0) -> np.ndarray:
    """The picture of `draw` without its panel: the regions on the image, enlarged by `enlargement`. `letters` scales tags, lines
    and points, for pictures that will be shown small.
    """
    from PIL import Image, ImageDraw

    factor = enlargement(*image.shape[:2])
    canvas = np.repeat(np.repeat(image[:, :, :3], factor, 0), factor, 1)
    height, width = canvas.shape[:2]
    text_px = round(letters * _text_px(height, width))
    line_px = max(2, text_px // 8)
    masks = [_mask(region, image.shape[:2], factor) for region in regions]
    boxes = [_box(region, factor) for region in regions]
    dots = [_points(region, mask, factor) for region, mask in zip(regions, masks, strict=True)]
    for at, mask in enumerate(masks):
        if mask is not None and not mask.all():
            tint(canvas, mask, colour(at), 0.32)
    for at, (box, mask) in enumerate(zip(boxes, masks, strict=True)):
        shape = mask if mask is not None and not mask.all() else None
        if shape is not None:
            outline(canvas, shape, colour(at), line_px)
        if box and not (shape is not None and _fills(shape, box)):
            rectangle(
                canvas, box, colour(at), line_px, corners=shape is not None
            )  # a mask says where exactly: corners are enough
    for at, points in enumerate(dots):
        for point in reversed(points):
            marker(canvas, point, colour(at), max(6, round(0.4 * text_px)))
    picture = Image.fromarray(canvas)
    tagged = [
        tags.Tagged(
            _tags(region),
            box or ((0, 0, width, height) if mask is None else bounds(mask)),
            points[0] if points and (mask is not None or not box) else None,
        )
        for region, box, mask, points in zip(regions, boxes, masks, dots, strict=True)
    ]
    tags.write(ImageDraw.Draw(picture), tagged, typeface(text_px))
    return np.asarray(picture).copy()


def _tags(region: dict[str, Any]) -> list[str]:
    """What a tag may say, most first."""
    distortions = region.get("distortions") or []
    return [
        words
        for words in dict.fromkeys(
            (faults(distortions) or plain(region.get("label")), faults(distortions, False), faults(distortions[:1], False))
        )
        if words
    ]


def _text_px(height: int, width: int) -> int:
    return max(15, round(0.021 * (height * width) ** 0.5))


def enlargement(height: int, width: int) -> int:
    """Whole factor that makes a small picture large enough to write on."""
    return max(1, min(-(-SHORT_PX // min(height, width)), LONG_PX // max(height, width)))


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
    whole = faults(assessment.get("distortions") or [])
    if whole or "distortions" in assessment:
        rows.append((None, f"Image: {whole or 'no distortion'}", regular, ""))
    for at, region in enumerate(regions):
        local = faults(region.get("distortions") or [])
        parts = [part for part in (plain(region.get("label")), local) if part]
        score = region.get("score")
        score = score.get("value") if isinstance(score, dict) else score
        value = f"; quality {score:.2f}" if score is not None else ""
        text = f"{': '.join(parts) or 'region'}{value}{_sure(region.get('confidence'), 'place ')}"
        rows.append((colour(at), text, regular, str(at + 1)))
    if not rows:
        return Image.new("RGB", (width, 0), PAPER)
    wrapped = [
        (ink, wrap(text, font, width - 2 * pad - (swatch if ink else 0)), font, number) for ink, text, font, number in rows
    ]
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
    if box is None or len(box) != 4:
        return None
    x0, y0, x1, y1 = (float(value) * factor for value in box)
    return x0, y0, x1, y1


def _points(region: dict[str, Any], mask: np.ndarray | None, factor: int) -> list[tuple[float, float]]:
    """The points of a region that lie on its mask, none where that is everything: others would mislead."""
    points = [(x * factor, y * factor) for x, y in region.get("points") or []]
    if mask is None:
        return points
    return [] if mask.all() else [point for point in points if contains(mask, point)]


def _fills(mask: np.ndarray, box: Box) -> bool:
    """Whether a mask is its box, so that corners around it would be drawn on its outline."""
    return bool(np.count_nonzero(mask) > 0.95 * (box[2] - box[0]) * (box[3] - box[1]))


def _sure(share: Any, what: str = "") -> str:
    return f", {what}{percent(share)} sure" if share is not None else ""

"""Marks on a picture, drawn in place: tints, outlines, boxes, points.

Colours are Okabe and Ito's, distinguishable with any colour vision; whoever uses them gives numbers too.
"""

from __future__ import annotations

import numpy as np

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (213, 94, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (204, 121, 167),
)
INK, PAPER = (22, 22, 26), (250, 250, 247)


def colour(at: int) -> Colour:
    """Of the region with this number, counted from 0."""
    return PALETTE[at % len(PALETTE)]


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

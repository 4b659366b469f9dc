"""Images inside a page: as `data:` addresses, with regions, masks and points drawn over them as SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from markupsafe import Markup

from iqaflow.draw.html.svg import drawing, outline, tag

if TYPE_CHECKING:
    import numpy as np


def data_url(data: bytes) -> str:
    """Image bytes as a `data:` URL (PNG unless the bytes say JPEG)."""
    kind = "jpeg" if data[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def reduced(image: np.ndarray, side_px: int, kind: str = "PNG") -> bytes:
    """An image (H, W, 3) uint8 as PNG or JPEG, its longer side at most `side_px`."""
    from PIL import Image

    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    picture.save(buffer, format=kind, **({"optimize": True} if kind == "PNG" else {"quality": 85}))
    return buffer.getvalue()


def overlay(
    data: bytes,
    height: int,
    width: int,
    masks: Iterable[tuple[str, np.ndarray]],
    label: str,
    point: tuple[float, float] | None = None,
) -> Markup:
    """Image bytes with the outlines of masks (H, W), each of a kind: `truth` and `asked` are lines, `guess` is filled.
    Coordinates are pixels of (height, width).
    """
    parts = [tag("image", href=data_url(data), width=width, height=height)]
    for kind, mask in masks:
        if path := outline(mask):
            if kind != "guess":
                parts.append(tag("path", d=path, class_="halo"))
            parts.append(tag("path", d=path, class_=kind, fill_rule="evenodd"))
    if point is not None:
        x, y = point
        parts += [tag("circle", cx=x, cy=y, r=4.0, class_=kind) for kind in ("halo", "point")]
    return drawing(width, height, parts, label)

"""The elements of inline SVG: numbers in their shortest form, attributes and text escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from iqaflow.draw.html.text import visible

if TYPE_CHECKING:
    import numpy as np

FINE_PX = 1_000_000  # pixels of a mask whose outline follows its pixels' edges; larger ones are drawn smaller than that


def coordinate(value: float) -> str:
    """At most two decimals, shortest form."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def tag(name: str, body: str = "", **attributes: object) -> Markup:
    """An element; `_` in attribute names becomes `-`, floats are shortened, text is escaped (a `Markup` body is not)."""
    parts = []
    for key, value in attributes.items():
        text = coordinate(value) if isinstance(value, float) else visible(value)
        parts.append(f'{key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    opening = " ".join([name, *parts])
    inside = body if isinstance(body, Markup) else escape(visible(body))
    return Markup(f"<{opening}>{inside}</{name}>" if inside else f"<{opening}/>")  # noqa: S704 - every part is escaped


def text(x: float, y: float, body: object, anchor: str = "start", class_: str = "", **more: object) -> Markup:
    return tag("text", str(body), x=float(x), y=float(y), text_anchor=anchor, class_=class_, **more)


def drawing(width: int, height: int, parts: Iterable[Markup], label: str) -> Markup:
    """The whole picture; `label` is what a screen reader says."""
    return tag(
        "svg", Markup().join(parts), viewBox=f"0 0 {width} {height}", width=width, height=height, role="img", aria_label=label
    )


def outline(mask: np.ndarray) -> str:
    """The path around a bool mask (H, W) with its holes, in pixels."""
    import cv2
    import numpy as np

    # at four times the size the contour runs within an eighth of a pixel of the true edge, else through the pixels' centres
    fine = 4 if mask.size <= FINE_PX else 1
    large = cv2.resize(np.pad(mask.astype(np.uint8), 1), None, fx=fine, fy=fine, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = (contour[:, 0, :] + 0.5) / fine - 1
        parts.append("M" + "L".join(f"{coordinate(float(x))} {coordinate(float(y))}" for x, y in points) + "z")
    return "".join(parts)

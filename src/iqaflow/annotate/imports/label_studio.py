"""Label Studio's JSON export: rectangles, polygons and brush strokes with the distortions as labels.

Per-region choices (`severity`) grade a region; choices without a region speak of the whole image. Image addresses are reduced
to their file name, as Label Studio's own uploads are (`/data/upload/3/1a2b-photo.jpg`, `/data/local-files/?d=photos/photo.jpg`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from iqaflow.annotate.imports import Finding, Item, Problems
from iqaflow.annotate.imports.text import entries, name, number, text_of
from iqaflow.annotate.imports.vocabulary import faults, level

KINDS = {"rectanglelabels": "box", "polygonlabels": "polygons", "brushlabels": "rle"}
MOST_PIXELS = 200_000_000


def read(path: Path, problems: Problems) -> Iterator[Item]:
    for place, task in enumerate(entries(path, "a Label Studio export")):
        file = image(task.get("data")) if isinstance(task, dict) else None
        if file is None:
            problems(f"task {place}", "its data has no image")
            continue
        findings = []
        for at, (finding, reason) in enumerate(_findings(task)):
            if finding is None:
                problems(f"task {place}, result {at}", reason)
            else:
                findings.append(finding)
        if findings:
            yield Item((("image", file),), tuple(findings))


def image(data: Any) -> str | None:
    """The file name of a task's image."""
    value = (
        next((data[key] for key in ("image", "img", "url") if isinstance(data.get(key), str)), None)
        if isinstance(data, dict)
        else None
    )
    if value is None:
        return None
    address = urlsplit(value)
    local = parse_qs(address.query).get("d")
    if local:
        return name(local[0])
    return name(PurePosixPath(address.path).name) if address.scheme or value.startswith("/") else name(value)


def _findings(task: dict[str, Any]) -> Iterator[tuple[Finding | None, str]]:
    results = [
        result
        for annotation in task.get("annotations") or []
        if isinstance(annotation, dict)
        for result in annotation.get("result") or []
        if isinstance(result, dict)
    ]
    grades: dict[Any, float] = {}
    for result in results:
        value = result.get("value")
        for choice in (value.get("choices") if isinstance(value, dict) else None) or []:
            grade = level(choice)
            if grade is not None and result.get("id"):
                grades[result["id"]] = grade
    shaped = {result.get("id") for result in results if result.get("type") in KINDS}
    for result in results:
        kind, value = result.get("type"), result.get("value")
        if not isinstance(value, dict):
            continue
        if kind == "choices" and result.get("id") not in shaped:
            known = faults(value.get("choices"))
            if known:
                yield Finding(None, known), ""
        elif kind in KINDS:
            known, drawn = faults(value.get(kind)), _shape(kind, value, result)
            given = grades.get(result.get("id"))
            if drawn is None or not known:
                yield None, "it has no usable shape, or names no known distortion"
            else:
                label = text_of((result.get("meta") or {}).get("text")) if isinstance(result.get("meta"), dict) else None
                yield Finding(drawn, tuple((distortion, graded or given) for distortion, graded in known), label), ""


def _shape(kind: str, value: dict[str, Any], result: dict[str, Any]) -> tuple[str, Any] | None:
    width, height = number(result.get("original_width")), number(result.get("original_height"))
    if not width or not height or width < 1 or height < 1 or width * height > MOST_PIXELS:
        return None
    if kind == "brushlabels":
        return _brush(value.get("rle"), int(width), int(height))
    if kind == "rectanglelabels":
        x, y, w, h = (number(value.get(key)) for key in ("x", "y", "width", "height"))
        if x is None or y is None or w is None or h is None or number(value.get("rotation") or 0):
            return None
        return "box", (x * width / 100, y * height / 100, (x + w) * width / 100, (y + h) * height / 100)
    points = value.get("points")
    sides = [number(side) for point in points if isinstance(point, list) for side in point] if isinstance(points, list) else []
    flat = [side for side in sides if side is not None]
    if len(flat) < 6 or len(flat) < len(sides) or len(flat) % 2:
        return None
    return "polygons", (tuple(side * (height if at % 2 else width) / 100 for at, side in enumerate(flat)),)


def _brush(data: Any, width: int, height: int) -> tuple[str, Any] | None:
    """A brush stroke as COCO's run lengths; its code is a bit stream of the RGBA picture, of which alpha is the mask."""
    from iqaflow.data.masks import encode_mask

    try:
        stream = bytes(data) if isinstance(data, list) else base64.b64decode(data, validate=True)
        values = unpacked(stream, 4 * width * height)
    except (TypeError, ValueError):
        return None
    mask = values.reshape(height, width, 4)[..., 3] > 0
    return ("rle", encode_mask(mask)) if mask.any() else None


def unpacked(stream: bytes, count: int) -> np.ndarray:
    """Label Studio's run-length code as uint8 (count,): 32 bits of length, 5 of word size - 1, four times 4 of run size - 1;
    then runs: whether one word repeats, which run size, run length - 1, and the word or words. Raises ValueError if it is cut
    short or of another length.
    """
    bits = np.unpackbits(np.frombuffer(stream, np.uint8))
    place = 0

    def take(size: int) -> int:
        nonlocal place
        if place + size > len(bits):
            raise ValueError("the code is cut short")
        value = int("".join(map(str, bits[place : place + size])), 2)
        place += size
        return value

    if take(32) != count:
        raise ValueError("the code has another length than the picture")
    word = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    out, at = np.zeros(count, np.uint8), 0
    while at < count:
        same = take(1)
        end = at + 1 + take(sizes[take(2)])
        if end > count or word > 8:
            raise ValueError("a run is longer than the picture")
        if same:
            out[at:end] = take(word)
        else:
            out[at:end] = [take(word) for _ in range(end - at)]
        at = end
    return out

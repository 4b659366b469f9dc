"""COCO instances JSON: boxes, polygons and run-length masks. A category or annotation names the distortions.

The distortions of an annotation are its `distortions` (a list), or its `attributes`, or else its category's name; `severity`
grades them. A category that names no distortion is the label of the region.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iqaflow.annotate.imports import Finding, Item, Problems
from iqaflow.annotate.imports.text import load, name, number, text_of
from iqaflow.annotate.imports.vocabulary import category, faults, level
from iqaflow.core.errors import InputError


def read(path: Path, problems: Problems) -> Iterator[Item]:
    tree = load(path)
    if not isinstance(tree, dict) or not all(isinstance(tree.get(key), list) for key in ("images", "annotations")):
        raise InputError(f"{path} has no lists `images` and `annotations`: is it a COCO instances JSON?")
    names = {str(entry.get("id")): entry.get("name") for entry in tree.get("categories") or [] if isinstance(entry, dict)}
    findings: dict[str, list[Finding]] = defaultdict(list)
    for place, entry in enumerate(tree["annotations"]):
        finding = _finding(entry, names) if isinstance(entry, dict) else None
        if finding is None:
            problems(f"annotation {place}", "it has no shape, or names no known distortion")
        else:
            findings[str(entry.get("image_id"))].append(finding)
    for place, image in enumerate(tree["images"]):
        file = name(image.get("file_name")) if isinstance(image, dict) else None
        if file is None:
            problems(f"image {place}", "its file_name is missing or leads outside the folder")
        elif findings[str(image.get("id"))]:
            yield Item((("image", file),), tuple(findings[str(image.get("id"))]))


def _finding(entry: dict[str, Any], names: dict[str, Any]) -> Finding | None:
    attributes = entry.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    label = text_of(names.get(str(entry.get("category_id"))))
    given = entry.get("distortions") or attributes.get("distortions") or attributes.get("distortion")
    grade = level(entry.get("severity") or attributes.get("severity"))
    known = faults(given if given else label)
    drawn = shape(entry)
    if drawn is None or not known:
        return None
    return Finding(
        drawn,
        tuple((distortion, graded if graded is not None else grade) for distortion, graded in known),
        None if category(label) else label,
        number(entry.get("score")),
    )


def shape(entry: dict[str, Any]) -> tuple[str, Any] | None:
    """The outline of an annotation in any of COCO's forms, or None."""
    drawn = entry.get("segmentation")
    if isinstance(drawn, dict) and drawn.get("counts") is not None:
        return "rle", {"size": drawn.get("size"), "counts": drawn["counts"]}
    if isinstance(drawn, list) and drawn:
        outlines = [tuple(map(number, outline)) for outline in drawn if isinstance(outline, list)]
        if outlines and all(None not in outline and len(outline) >= 6 and len(outline) % 2 == 0 for outline in outlines):
            return "polygons", tuple(outlines)
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None
    x, y, width, height = map(number, box)
    if x is None or y is None or width is None or height is None:
        return None
    return "box", (x, y, x + width, y + height)

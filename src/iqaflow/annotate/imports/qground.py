"""QGround-100K: entries `{"image": NAME, "ann_list": [{"segmentation": polygons or run lengths, "category_name": WORD}, ...]}`
with, where present, `description` or chat turns. The set's own tools are not public in full: this is the layout of its
annotation file as far as it is described.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from iqaflow.annotate.imports import Finding, Item, Problems
from iqaflow.annotate.imports.coco import shape
from iqaflow.annotate.imports.llava import roles, turns
from iqaflow.annotate.imports.text import entries, text_of
from iqaflow.annotate.imports.vocabulary import faults, level


def read(path: Path, problems: Problems) -> Iterator[Item]:
    for place, entry in enumerate(entries(path, "a QGround list")):
        images = roles(entry.get("image") or entry.get("image_name")) if isinstance(entry, dict) else None
        if images is None or len(images) != 1:
            problems(f"entry {place}", "it has no image inside the folder")
            continue
        findings = []
        given = entry.get("ann_list") or entry.get("annotations")
        for at, region in enumerate(given if isinstance(given, list) else []):
            drawn = shape(region) if isinstance(region, dict) else None
            known = faults(region.get("category_name") or region.get("distortions")) if drawn else ()
            if known:
                grade = level(region.get("severity"))
                distortions = tuple((name, graded or grade) for name, graded in known)
                findings.append(Finding(drawn, distortions, text_of(region.get("label"))))
            else:
                problems(f"entry {place}, region {at}", "it has no shape, or names no known distortion")
        item = Item(images, tuple(findings), text_of(entry.get("description")), turns(entry))
        if item.findings or item.description or item.dialogue:
            yield item
        else:
            problems(f"entry {place}", "nothing is said about the image")

"""What people found in an image as a scene of known truth, and what can be asked about it without guessing (IQA-Spider 1.2,
authentic branch): exact masks from boxes, polygons and RLE; phrases, positions, questions and answers by the same `tasks`.

People see an image as it is, so nothing is known that they did not say: where a finding has no severity, nothing is asked
whose answer would name or compare one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from iqaflow import distortions, tasks
from iqaflow.annotate.imports import Finding, Item
from iqaflow.data.masks import bounds, mask_runs, painted
from iqaflow.distortions import SEVERITIES
from iqaflow.regions.phrase import described, distinguished, plain
from iqaflow.tasks.scene import Area, Exchange, Flaw, Scene

WHOLE = 0.95  # share of the image from which a region is the whole image: its box says no place
FAR = 10  # image sizes that a corner may lie outside: COCO's code walks every pixel of an outline, and dies of a far one
INSIDE = 0.5  # share of a region inside another one from which it shows that one's distortions too
UNKNOWN, UNGRADED = len(SEVERITIES), "?"  # stand for the level and severity that nobody gave; nothing asked needs them


class Seen(Scene):
    """A scene that people labelled."""

    def visible(self, reference: bool) -> bool:
        """What people named they saw, without a reference, however slight it is."""
        return True


@dataclass
class _Part:
    """A region as labelled: `faults` are its own, level by category, None where nobody gave one."""

    mask: np.ndarray
    box: tuple[int, int, int, int]
    faults: dict[str, float | None]
    label: str | None
    score: float | None

    def inside(self, other: _Part) -> float:
        """The share of this region that lies in another."""
        x0, y0, x1, y1 = self.box
        return np.count_nonzero(self.mask[y0:y1, x0:x1] & other.mask[y0:y1, x0:x1]) / np.count_nonzero(self.mask)


def fault(finding: Finding, height: int, width: int) -> str | None:
    """Why a finding in an image of this size cannot be used, or None. Nothing is drawn."""
    for category, level in finding.distortions:
        if category not in distortions.categories():
            return f"the distortion {category!r} is none of the {len(distortions.categories())} categories"
        if level is not None and not 1 <= level <= len(SEVERITIES):
            return f"the level {level} of {category} lies outside 1..{len(SEVERITIES)}"
    if finding.score is not None and not 0 <= finding.score <= 1:
        return f"a region's score {finding.score} lies outside 0..1"
    if finding.shape is None:
        return None
    kind, drawn = finding.shape
    if kind == "rle":
        return _runs(drawn, height, width)[1]
    if kind not in ("box", "polygons"):
        return f"a region of the kind {kind!r} is unknown"
    outlines = [np.asarray(drawn, float)] if kind == "box" else [np.asarray(outline, float) for outline in drawn]
    if not outlines or not all(np.isfinite(outline).all() for outline in outlines):
        return f"a region has {'numbers that are none' if outlines else 'no outline'}"
    if kind == "box" and outlines[0].shape != (4,):
        return f"a box has {outlines[0].size} numbers, not 4"
    if kind == "polygons" and any(outline.ndim != 1 or len(outline) < 6 or len(outline) % 2 for outline in outlines):
        return "a polygon has fewer than 3 corners or half a corner"
    x0, x1 = min(outline[::2].min() for outline in outlines), max(outline[::2].max() for outline in outlines)
    y0, y1 = min(outline[1::2].min() for outline in outlines), max(outline[1::2].max() for outline in outlines)
    if (kind == "box" and (drawn[2] <= drawn[0] or drawn[3] <= drawn[1])) or x1 <= x0 or y1 <= y0:
        return "a region has no area"
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        return f"a region lies outside the image of {width}x{height} px"
    if max(abs(x0), abs(x1)) > FAR * width or max(abs(y0), abs(y1)) > FAR * height:
        return f"a region has a corner far outside the image of {width}x{height} px"
    return None


def askable(findings: tuple[Finding, ...]) -> bool:
    """Whether something can be asked about sound findings: of a whole image with three distortions or more a sentence tells
    the severities, and a short answer names two at most.
    """
    faults = dict(fault for finding in findings for fault in finding.distortions)
    graded = all(level is not None for finding in findings for _, level in finding.distortions)
    return graded or len(faults) < 3 or any(finding.shape for finding in findings)


def mask(shape: tuple[str, Any], height: int, width: int) -> np.ndarray:
    """The pixels (H, W) bool of a sound shape: of a box every pixel it touches, of polygons their union by COCO's rule. Raises
    ValueError for an RLE that is not sound.
    """
    kind, drawn = shape
    if kind == "rle":
        runs, reason = _runs(drawn, height, width)
        if runs is None:
            raise ValueError(reason)
        return painted(runs, height, width)
    if kind == "box":
        inside = np.zeros((height, width), bool)
        x0, y0 = (max(int(np.floor(side)), 0) for side in drawn[:2])
        inside[y0 : int(np.ceil(drawn[3])), x0 : int(np.ceil(drawn[2]))] = True
        return inside
    from pycocotools import mask as coco

    codes = coco.frPyObjects([[float(side) for side in outline] for outline in drawn], height, width)
    return np.asarray(coco.decode(coco.merge(codes))).astype(bool)


def scene(item: Item, image_id: str, height: int, width: int, pixels: Callable[[], np.ndarray]) -> tuple[Scene, bool]:
    """The findings of an item about one image as a scene, and whether every distortion has a level. `pixels` gives the image,
    uint8 RGB (H, W, 3), where a region without a usable name must be called by its colour.

    Findings of one shape are one region. A region shows the distortions of another that holds half of it or more.
    """
    whole: dict[str, float | None] = {}
    parts: list[_Part] = []
    for finding in item.findings:
        inside = None if finding.shape is None else mask(finding.shape, height, width)
        if inside is None or inside.mean() >= WHOLE:
            _add(whole, dict(finding.distortions))
        elif same := next((part for part in parts if np.array_equal(part.mask, inside)), None):
            _add(same.faults, dict(finding.distortions))
            same.label, same.score = same.label or finding.label, finding.score if same.score is None else same.score
        elif inside.any():
            part = _Part(inside, bounds(inside), {}, finding.label, finding.score)
            _add(part.faults, dict(finding.distortions))
            parts.append(part)
    faults = [dict(part.faults) for part in parts]
    for part, shown in zip(parts, faults, strict=True):
        for other in parts:
            if other is not part and other.faults and part.inside(other) >= INSIDE:
                _add(shown, other.faults)
    flaws = list(_flaws([(None, whole), *enumerate(faults)]))
    names = [(part.label and plain(part.label)) or described(pixels(), part.mask) for part in parts]
    labels = distinguished(names, [float(part.mask.mean()) for part in parts], [part.box for part in parts], (height, width))
    areas = tuple(
        Area(at, label, part.mask, part.box, _number(part.score))
        for at, (part, label) in enumerate(zip(parts, labels, strict=True))
    )
    graded = all(flaw.severity != UNGRADED for flaw in flaws)
    return Seen(image_id, width, height, _number(item.score), tuple(flaws), areas), graded


def exchanges(item: Item, labelled: Scene, graded: bool, rng: np.random.Generator, plainly: bool) -> list[Exchange]:
    """All questions about the scene of an item. An image with distortions of the whole only is identified and described in
    short (IQA-Spider 1.2); one that was only rated is rated.
    """
    chosen = [
        task
        for task in tasks.single()
        if (graded or task.ungraded) and (labelled.areas or (task.about == "image" if item.findings else task.rated))
    ]
    questions = [exchange for task in chosen for exchange in task.questions(labelled, False, rng, plainly)]
    if not graded:  # neither the answer nor the choice of it may need to know how severe anything is
        return [
            replace(exchange, targets=replace(exchange.targets, levels=()))
            for task in chosen
            if task.ungraded
            for exchange in questions
            if exchange.task == task.name and task.ungraded(labelled, exchange)
        ]
    short = any(exchange.task == "describe" and exchange.style == "brief" for exchange in questions)
    return [
        exchange
        for exchange in questions
        if labelled.areas or not short or exchange.task != "describe" or exchange.style == "brief"
    ]


def _flaws(places: list[tuple[int | None, dict[str, float | None]]]) -> Iterator[Flaw]:
    """Flaws in the order given, those of the whole image first. They have no `name`: people name categories."""
    named = ((region, category, level) for region, faults in places for category, level in faults.items())
    for order, (region, category, level) in enumerate(named):
        step = UNKNOWN if level is None else int(np.floor(level + 0.5))
        yield Flaw("", category, step, UNGRADED if level is None else SEVERITIES[step - 1], order, region)


def _add(faults: dict[str, float | None], more: dict[str, float | None]) -> None:
    """Distortions that are not there yet, and the levels that are not."""
    for category, level in more.items():
        if faults.get(category) is None:
            faults[category] = level


def _runs(rle: dict[str, Any], height: int, width: int) -> tuple[np.ndarray | None, str | None]:
    """The runs of an RLE, compressed or not, or None and the fault; no more memory is read than there is."""
    counts = rle.get("counts")
    if not isinstance(counts, (list, tuple)):
        counts = counts.decode("ascii", "replace") if isinstance(counts, bytes) else counts
        return mask_runs({"size": rle.get("size"), "counts": counts}, height, width, height * width)
    if list(rle.get("size") or ()) != [height, width]:
        return None, f"mask is of size {rle.get('size')}, the image of {[height, width]}"
    runs = np.asarray(counts, np.int64)
    if runs.ndim != 1 or not len(runs) or runs.min() < 0 or runs.sum() != height * width:
        return None, "mask is not a valid run-length code"
    return (runs, None) if runs[1::2].any() else (None, "mask is empty")


def _number(score: float | None) -> float:
    return float("nan") if score is None else float(score)

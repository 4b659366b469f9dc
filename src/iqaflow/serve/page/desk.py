"""Between the page and the model: one question at a time, and what a person has open."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.core.errors import InputError
from iqaflow.data.images import ImageError, decode
from iqaflow.infer.assessor import Assessor
from iqaflow.infer.picture import MAX_PIXELS
from iqaflow.infer.schema import Region

Point = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """One photograph, what the model says of it, and the region a person asked about since."""

    pixels: np.ndarray
    result: dict[str, Any]
    pointed: Region | None = None
    corner: Point | None = None  # the first of a box
    reference: str | None = None  # the name of its file

    @property
    def regions(self) -> list[dict[str, Any]]:
        """As numbered in the picture and the legend: those the model found, then the one asked about."""
        return [*self.result["regions"], *([self.pointed] if self.pointed else [])]

    @property
    def assessment(self) -> dict[str, Any]:
        """What the page shows, as one assessment."""
        return {**self.result, "regions": self.regions}

    def at_corner(self, corner: Point | None) -> Look:
        return replace(self, corner=corner)


class Desk:
    """A model that any number of open pages may ask; they wait for each other."""

    def __init__(self, assessor: Assessor) -> None:
        self._assessor, self._turn = assessor, threading.Lock()

    def assess(self, path: str, reference: str | None = None, question: str | None = None) -> Look:
        """Raises InputError, in words without our folders, if a file cannot be used."""
        result = self._answer("assess", path, reference=reference, question=(question or "").strip() or None)
        return Look(self.pixels(path), result, reference=Path(reference).name if reference else None)

    def ask(self, look: Look, **where: Any) -> Look:
        """The same look with the region at `point=(x, y)` or in the box `region=(x0, y0, x1, y1)`, in pixels."""
        with self._turn:
            return replace(look, pointed=self._assessor.examine(look.pixels, **where), corner=None)

    def compare(self, a: str, b: str, reference: str | None = None) -> dict[str, Any]:
        """Raises InputError as `assess` does."""
        return self._answer("compare", a, b, reference=reference)

    def pixels(self, path: str) -> np.ndarray:
        """The photograph as the model sees it: upright RGB."""
        try:
            return decode(Path(path), MAX_PIXELS)
        except ImageError as error:
            raise InputError(f"{error}.") from None

    def _answer(self, what: str, *paths: str, reference: str | None, **more: Any) -> dict[str, Any]:
        try:
            with self._turn:
                result = getattr(self._assessor, what)(*paths, reference=reference, **more)
        except InputError as error:
            raise InputError(_named(str(error), [*paths, reference])) from None
        for about in result.get("images") or [result["image"]]:
            about["path"] = Path(about["path"]).name  # where the page keeps its copy is nobody's business
        return result


def _named(text: str, paths: list[str | None]) -> str:
    """A message with the names of files instead of where the page keeps them."""
    for path in filter(None, paths):
        text = text.replace(path, Path(path).name)
    return text

"""Regions of a photograph: masks, their boxes, and a phrase a person would understand.

Every module here that defines `of_photograph` and `of_view` is a kind of regions, named by `annotate.regions`:

- `superpixels` finds parts of one colour in every view,
- `given` reads masks that people made, from `source.masks` (the layouts are the modules of `layouts`),
- `sam` lets Segment Anything find them (`annotate.sam`).

A photograph without masks has no regions, so only distortions of the whole image are made of it; `left_out` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.config.schema import Annotate
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import LeftOut, Photograph
from iqaflow.regions.phrase import colour
from iqaflow.regions.shape import Region, Segments, Window

__all__ = ["Region", "Segments", "Window", "colour", "inputs", "left_out", "of_photograph", "of_view"]


class Kind(Protocol):
    """What a kind of regions must define; it may define `inputs` and `left_out` too."""

    def of_photograph(
        self, photograph: Photograph, pixels: np.ndarray, config: Config, workspace: Workspace
    ) -> Segments | None: ...

    def of_view(
        self, view: np.ndarray, window: Window, segments: Segments | None, config: Annotate, rng: np.random.Generator
    ) -> list[Region]: ...


def of_photograph(photograph: Photograph, pixels: np.ndarray, config: Config, workspace: Workspace) -> Segments | None:
    """The segments of a photograph, uint8 RGB (H, W, 3); None if its kind finds regions view by view, or if there are none
    for it. Raises StageError if `source.masks` or the segmenter cannot be used at all.
    """
    return _kind(config.annotate).of_photograph(photograph, pixels, config, workspace)


def of_view(
    view: np.ndarray, window: Window, segments: Segments | None, config: Annotate, rng: np.random.Generator
) -> list[Region]:
    """The regions of an undistorted view, uint8 RGB (h, w, 3), cut from its photograph by `window`: those whose share of
    the view lies within `annotate.area`, in the order of the segments, none overlapping another.
    """
    return _kind(config).of_view(view, window, segments, config, rng)


def inputs(config: Config, workspace: Workspace) -> dict[str, str]:
    """SHA-256 of what the regions are made from beside the photographs: mask files and segmenter weights. Raises StageError
    in one sentence if they are missing or unreadable, so that no run starts that would fail on its first photograph.
    """
    find: Callable[[Config, Workspace], dict[str, str]] | None = getattr(_kind(config.annotate), "inputs", None)
    return find(config, workspace) if find else {}


def left_out(photographs: list[Photograph], config: Config, workspace: Workspace) -> list[LeftOut]:
    """The photographs that have no regions, `{file, reason}` each. What is wrong inside a mask file is known once the
    photograph was used.
    """
    find: Callable[[list[Photograph], Config, Workspace], list[LeftOut]] | None
    find = getattr(_kind(config.annotate), "left_out", None)
    return find(photographs, config, workspace) if find else []


def _kind(config: Annotate) -> Kind:
    return cast(Kind, KINDS["regions"].module(config.regions, "annotate.regions"))

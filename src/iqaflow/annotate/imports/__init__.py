"""Labels and texts that people already have, read from the formats they have them in. A format is one file here.

A format module defines `read(path, problems) -> Iterator[Item]`: `path` is the label file (or folder), and an entry that
cannot be used is left out with `problems(what, reason)`. A file that is broken as a whole raises InputError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iqaflow.core.config.schema import Labelled
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace

Problems = Callable[[str, str], None]


@dataclass(frozen=True)
class Finding:
    """A region somebody labelled. `shape` is `("box", (x0, y0, x1, y1))` in pixels, right and bottom exclusive,
    `("polygons", ((x, y, x, y, ...), ...))` in pixels, `("rle", {"size": [H, W], "counts": ...})` in COCO's form, compressed
    or not, or None for the whole image. `distortions` are (category id, level 1..5 or None) in the order given.
    """

    shape: tuple[str, Any] | None
    distortions: tuple[tuple[str, float | None], ...]
    label: str | None = None
    score: float | None = None


@dataclass(frozen=True)
class Item:
    """One entry of a label file: its images by role (`image`; or `reference`, `A`, `B`), names relative to `labelled.images`
    with forward slashes; and whatever the file says of them: regions, a human description, a dialogue of (question, answer)
    pairs, a score 0..1 with the spread of the opinions behind it (standard deviation, same scale) and where it comes from.
    """

    images: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...] = ()
    description: str | None = None
    dialogue: tuple[tuple[str, str], ...] = ()
    score: float | None = None
    spread: float | None = None
    score_source: str = "human"


def read(labelled: Labelled, workspace: Workspace, problems: Problems) -> list[Item]:
    """All usable entries of a labelled data set, in the order of its file.

    Raises ConfigError for an unknown format and InputError for a file that cannot be read, in one sentence.
    """
    module = KINDS["formats"].module(labelled.format, f"source.labelled: {labelled.name}: format")
    scale = {"scale": labelled.scale} if labelled.scale else {}
    return list(module.read(workspace.root / Path(labelled.path).expanduser(), problems, **scale))

"""Given regions: masks that people made, read from `source.masks` in any layout that a module of `layouts` knows.

    source.masks: coco/annotations/panoptic_train2017.json      or a directory of BSDS .mat files or PNG label maps

Masks belong to the photograph of the same name. Unusable masks of one photograph cost that photograph its regions and are
named by `left_out`; what is wrong with all of them stops the stage.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.config.schema import Annotate
from iqaflow.core.errors import StageError
from iqaflow.core.files import write_json
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import size_of
from iqaflow.data.photographs import LeftOut, Photograph
from iqaflow.regions import layouts
from iqaflow.regions.shape import Region, Segments, Window, cut


def of_photograph(photograph: Photograph, pixels: np.ndarray, config: Config, workspace: Workspace) -> Segments | None:
    place, layout = _masks(config, workspace)
    note = _note(photograph, place, workspace)
    try:
        segments = layout.read(place, photograph.origin, size_of(pixels), _cache(workspace))
    except layouts.MaskError as error:
        write_json(note, {"file": photograph.origin, "reason": str(error)})
        return None
    note.unlink(missing_ok=True)  # of an earlier run, before the mask was mended
    return segments


def of_view(
    view: np.ndarray, window: Window, segments: Segments | None, config: Annotate, rng: np.random.Generator
) -> list[Region]:
    return cut(view, window, segments, config.area)


def inputs(config: Config, workspace: Workspace) -> dict[str, str]:
    """SHA-256 of all mask files together, by the name `source.masks`."""
    layouts.forget()
    place, layout = _masks(config, workspace)
    digest = hashlib.sha256()
    for path in layout.files(place):
        digest.update(f"{path.relative_to(place.parent).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    layout.covers(place, "photograph", _cache(workspace))  # an index is built once, before workers need it
    return {"source.masks": digest.hexdigest()}


def left_out(photographs: list[Photograph], config: Config, workspace: Workspace) -> list[LeftOut]:
    place, layout = _masks(config, workspace)
    missing: list[LeftOut] = []
    for photograph in photographs:
        note = _note(photograph, place, workspace)
        if note.is_file():
            missing.append(json.loads(note.read_text(encoding="utf-8")))
            continue
        try:
            reason = None if layout.covers(place, photograph.origin, _cache(workspace)) else "source.masks has none of its name"
        except layouts.MaskError as error:
            reason = str(error)
        if reason:
            missing.append({"file": photograph.origin, "reason": reason})
    return missing


def _masks(config: Config, workspace: Workspace) -> tuple[Path, layouts.Layout]:
    if not config.source.masks:
        raise StageError(
            "annotate.regions=given needs source.masks: a COCO panoptic JSON, or a directory of BSDS .mat files or "
            "PNG label maps."
        )
    place = (workspace.root / Path(config.source.masks).expanduser()).resolve()
    return place, layouts.of(place, config.source.masks)


def _cache(workspace: Workspace) -> Path:
    return workspace.state / "regions"


def _note(photograph: Photograph, place: Path, workspace: Workspace) -> Path:
    key = hashlib.sha256(f"{photograph.sha256}\0{photograph.origin}\0{place}".encode()).hexdigest()
    return _cache(workspace) / "unusable" / f"{key[:32]}.json"

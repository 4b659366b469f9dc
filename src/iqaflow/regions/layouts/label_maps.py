"""Label maps: a directory of PNG files named like the photographs; the value of a pixel (8 or 16 bits, or the index into
a palette) is the number of its segment.

`labels.json` in that directory may name them, `{"1": "dog", "2": "sky"}`; then only named numbers are regions. Without it
every number but 0 is one, and is described by its colour.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from iqaflow.core.errors import StageError
from iqaflow.regions.layouts import MaskError, beside, files_of, is_folder_of, picture, segmented
from iqaflow.regions.phrase import plain
from iqaflow.regions.shape import Segments

SUFFIX = ".png"
NAMES = "labels.json"


def owns(place: Path) -> bool:
    return is_folder_of(place, SUFFIX)


def files(place: Path) -> Iterator[Path]:
    if (place / NAMES).is_file():
        yield place / NAMES
    yield from files_of(place, SUFFIX)


def covers(place: Path, origin: str, cache: Path) -> bool:
    return beside(place, SUFFIX, origin) is not None


def read(place: Path, origin: str, size: tuple[int, int], cache: Path) -> Segments | None:
    path = beside(place, SUFFIX, origin)
    if path is None:
        return None
    values = picture(path, size)
    if values.ndim != 2:
        raise MaskError(
            f"{path.name} is a colour picture, not a label map: save one number per pixel, or "
            "give the JSON if these are COCO panoptic masks"
        )
    ids = values.astype(np.int64)
    present = np.unique(ids).tolist()
    names = _names(place / NAMES, (place / NAMES).stat().st_mtime_ns if (place / NAMES).is_file() else None)
    wanted = {id: names.get(id) for id in present if (id in names if names else id != 0)}
    return segmented(path.name, ids, wanted)


@functools.lru_cache(maxsize=8)
def _names(path: Path, changed: int | None) -> dict[int, str | None]:
    if changed is None:
        return {}
    try:
        return {int(id): plain(name) for id, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        raise StageError(f'{path} is not a table of names: write {{"1": "dog", "2": "sky"}}.') from None

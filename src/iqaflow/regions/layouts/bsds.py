"""BSDS500: a directory of `.mat` files, each with the outlines of one photograph by several people.

One person's are used, always the same: the one whose number of segments is in the middle (of an even number the lower, of
equals the first), so neither the coarsest nor the finest. Segments have no names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from iqaflow.regions.layouts import MaskError, beside, files_of, fits, is_folder_of, segmented
from iqaflow.regions.shape import Segments

SUFFIX = ".mat"


def owns(place: Path) -> bool:
    return is_folder_of(place, SUFFIX)


def files(place: Path) -> Iterator[Path]:
    yield from files_of(place, SUFFIX)


def covers(place: Path, origin: str, cache: Path) -> bool:
    return beside(place, SUFFIX, origin) is not None


def read(place: Path, origin: str, size: tuple[int, int], cache: Path) -> Segments | None:
    path = beside(place, SUFFIX, origin)
    if path is None:
        return None
    people = _people(path)
    for person in people:
        fits(path.name, person.shape, size)
    counts = [len(np.unique(person)) for person in people]
    chosen = people[sorted(range(len(people)), key=lambda at: counts[at])[(len(people) - 1) // 2]].astype(np.int64)
    return segmented(path.name, chosen, dict.fromkeys(np.unique(chosen).tolist()))


def _people(path: Path) -> list[np.ndarray]:
    """Everybody's label map (H, W)."""
    from scipy.io import loadmat

    try:
        truth = loadmat(path, variable_names=["groundTruth"])["groundTruth"]
        people = [np.asarray(entry["Segmentation"][0, 0]) for entry in truth.ravel()]
    except Exception as error:  # damaged files raise nearly anything; the reason is kept
        reason = "no groundTruth" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise MaskError(f"{path.name} is not a BSDS segmentation ({reason})") from None
    if not people or any(person.ndim != 2 or person.dtype.kind not in "iu" for person in people):
        raise MaskError(f"{path.name} is not a BSDS segmentation (groundTruth holds no label maps)")
    return people

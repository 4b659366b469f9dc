"""How given masks are laid out on disk; every module of this package is one layout, found by listing.

A module defines `owns(place)`: whether the file or directory is written this way; `read(place, origin, size, cache)`: the
segments of the photograph of that name and size (height, width), None if it has none, MaskError if they cannot be used;
`covers(place, origin, cache)`: whether it has any, without reading them; `files(place)`: every file there is. `cache` is a
directory for an index.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol, cast

import numpy as np

from iqaflow.core.errors import StageError
from iqaflow.core.plugins import KINDS
from iqaflow.regions.shape import Segments, segments


class MaskError(ValueError):
    """The masks of one photograph cannot be used; the message is the reason in one sentence."""


class Layout(Protocol):
    def owns(self, place: Path) -> bool: ...
    def read(self, place: Path, origin: str, size: tuple[int, int], cache: Path) -> Segments | None: ...
    def covers(self, place: Path, origin: str, cache: Path) -> bool: ...
    def files(self, place: Path) -> Iterator[Path]: ...


@functools.lru_cache(maxsize=8)
def of(place: Path, named: str) -> Layout:
    """The layout of `place`, which the parameters call `named`. StageError if it is missing or of no known layout."""
    if not place.exists():
        raise StageError(f"source.masks={named} does not exist: give a COCO panoptic JSON or a directory of masks.")
    known = KINDS["layouts"].modules()
    for layout in known.values():
        if layout.owns(place):
            return cast(Layout, layout)
    raise StageError(
        f"source.masks={named} is none of the known layouts ({', '.join(known)}): give a COCO panoptic JSON, or a "
        "directory of BSDS .mat files or PNG label maps."
    )


def is_folder_of(place: Path, suffix: str) -> bool:
    """Whether a directory tree has a file of that suffix."""
    return place.is_dir() and next(place.rglob(f"*{suffix}"), None) is not None


def files_of(folder: Path, suffix: str) -> list[Path]:
    """The files of a directory tree with that suffix, sorted."""
    return sorted({path for paths in listing(folder, suffix).values() for path in paths})


def listing(folder: Path, suffix: str) -> dict[str, tuple[Path, ...]]:
    """The files of a directory tree by their path without suffix, and by their bare name."""
    return _listing(folder, suffix, folder.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _listing(folder: Path, suffix: str, changed: int) -> dict[str, tuple[Path, ...]]:
    paths: dict[str, tuple[Path, ...]] = {}
    for path in sorted(folder.rglob(f"*{suffix}")):
        if path.is_file():
            inside = path.relative_to(folder).with_suffix("").as_posix()
            for key in dict.fromkeys((inside, path.stem)):
                paths[key] = (*paths.get(key, ()), path)
    return paths


def beside(folder: Path, suffix: str, origin: str) -> Path | None:
    """The file that belongs to a photograph: of the same path, or else of the same name in any folder. MaskError if several
    files have that name.
    """
    name = PurePosixPath(origin)
    files = listing(folder, suffix)
    matches = files.get(name.with_suffix("").as_posix()) or files.get(name.stem) or ()
    if len(matches) > 1:
        raise MaskError(
            f"{matches[0].name} exists {len(matches)} times under {folder.name}, and none of them lies where {origin} does"
        )
    return matches[0] if matches else None


def picture(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The raw values of a PNG as they are stored, (H, W) or (H, W, C). MaskError if it is missing, damaged or not of `size`
    (height, width), which is looked at before anything is decoded.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            fits(path.name, (image.height, image.width), size)
            return np.asarray(image)
    except FileNotFoundError:
        raise MaskError(f"{path.name} is missing from {path.parent.name}") from None
    except MaskError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged input; the reason is kept
        raise MaskError(f"{path.name} cannot be decoded ({type(error).__name__}: {error})") from None


def forget() -> None:
    """Look at the disk again: directories are listed once per process."""
    of.cache_clear()
    _listing.cache_clear()


def fits(name: str, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """MaskError if a mask is not as large as its photograph."""
    if tuple(shape[:2]) != tuple(size):
        turned = ", as if the photograph had been turned" if tuple(shape[:2]) == tuple(size[::-1]) else ""
        raise MaskError(f"{name} is {shape[1]}x{shape[0]}, its photograph {size[1]}x{size[0]}{turned}")


def segmented(name: str, ids: np.ndarray, names: dict[int, str | None]) -> Segments:
    """`segments` of a map (H, W) that the file `name` holds. MaskError if there are more than a label map can hold."""
    try:
        return segments(ids, names)
    except ValueError as error:
        raise MaskError(f"{name}: {error}") from None

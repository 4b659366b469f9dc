"""COCO panoptic: a JSON of photographs and their segments, and a PNG beside it for each, whose pixels spell the number of
their segment in colour, R + 256 G + 65536 B (Kirillov et al. 2019).

The PNG files lie in a directory named like the JSON, in one named `panoptic`, or beside the JSON. The JSON is read once,
into an index that every worker shares, so that a file of 118,000 photographs costs no memory.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from iqaflow.core.errors import StageError
from iqaflow.core.hashes import sha256
from iqaflow.regions.json_parts import parts
from iqaflow.regions.layouts import MaskError, fits, picture, segmented
from iqaflow.regions.phrase import crowd, plain
from iqaflow.regions.shape import Segments

BEYOND = 256**3  # numbers from here on cannot be spelt by a colour
TABLES = """
create table images (id integer primary key, path text, stem text, height integer, width integer);
create table annotations (image_id integer primary key, file_name text, segments text);
create table categories (id integer primary key, name text);
"""
SELECT = "select file_name, height, width, segments from images join annotations on image_id = id"


def owns(place: Path) -> bool:
    return place.is_file() and place.suffix.lower() == ".json"


def files(place: Path) -> Iterator[Path]:
    yield place
    yield from sorted(_folder(place).glob("*.png"))


def covers(place: Path, origin: str, cache: Path) -> bool:
    with closing(_index(place, cache)) as index:
        return _row(index, origin) is not None


def read(place: Path, origin: str, size: tuple[int, int], cache: Path) -> Segments | None:
    with closing(_index(place, cache)) as index:
        row = _row(index, origin)
        if row is None:
            return None
        file_name, height, width, entries = row
        categories = dict(index.execute("select id, name from categories"))
    fits(f"the entry of {origin} in {place.name}", (height, width), size)
    folder = _folder(place)
    if not (folder / file_name).resolve().is_relative_to(folder.resolve()):
        raise MaskError(f"{place.name} names a mask outside its directory: {file_name}")
    names: dict[int, str | None] = {}
    for id, category, is_crowd in json.loads(entries):
        if not 0 < id < BEYOND:
            raise MaskError(f"{place.name} gives {origin} a segment {id}, but a colour can only spell 1 to {BEYOND - 1}")
        name = plain(categories.get(category, ""))
        names[id] = crowd(name) if name and is_crowd else name
    colours = picture(folder / file_name, size)
    if colours.ndim != 3 or colours.shape[2] < 3:
        raise MaskError(f"{file_name} is not in colour, so it cannot spell the segments of {place.name}")
    ids = colours[..., 0] + colours[..., 1].astype(np.int32) * 256 + colours[..., 2].astype(np.int32) * 65536
    segments = segmented(file_name, ids, names)
    if names and not segments.labels.any():
        raise MaskError(f"{file_name} shows none of the {len(names)} segments that {place.name} gives {origin}")
    return segments


def _folder(place: Path) -> Path:
    for folder in (place.with_suffix(""), place.parent / "panoptic"):
        if folder.is_dir():
            return folder
    return place.parent


def _row(index: sqlite3.Connection, origin: str) -> tuple[str, int, int, str] | None:
    """The entry of a photograph: of the same path, or else of the same name."""
    name = PurePosixPath(origin)
    for query, value in (
        (f"{SELECT} where path = ? limit 2", name.with_suffix("").as_posix()),
        (f"{SELECT} where stem = ? limit 2", name.stem),
    ):
        rows = index.execute(query, (value,)).fetchall()
        if len(rows) > 1:
            raise MaskError(f"several photographs are called {name.stem}, and none has the path {origin}")
        if rows:
            row: tuple[str, int, int, str] = rows[0]
            return row
    return None


def _index(place: Path, cache: Path) -> sqlite3.Connection:
    stat = place.stat()
    path = cache / f"panoptic-{_digest(place, stat.st_mtime_ns, stat.st_size)[:16]}.sqlite"
    for _ in range(2):
        if not path.is_file():
            _build(place, path)
        index = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            index.execute("select count(*) from categories").fetchone()
            return index
        except sqlite3.DatabaseError:
            index.close()
            path.unlink(missing_ok=True)
    raise StageError(f"{path} is damaged and cannot be made again: check the disk.")


@functools.lru_cache(maxsize=8)
def _digest(place: Path, changed: int, size: int) -> str:
    return sha256(place)


def _build(place: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    where = ""
    try:
        with closing(sqlite3.connect(name)) as index:
            index.executescript(TABLES)
            for key, entry in parts(place, tuple(ROWS)):
                where = f" ({key}: {str(entry)[:80]})"
                statement, row = ROWS[key]
                index.execute(statement, row(entry))
            index.executescript("create index by_path on images (path); create index by_stem on images (stem);")
            index.commit()
        os.replace(name, path)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, sqlite3.Error) as error:
        reason = f"{type(error).__name__}: {error}"
        raise StageError(f"source.masks: {place.name} is not a COCO panoptic JSON, {reason}{where}.") from None
    finally:
        Path(name).unlink(missing_ok=True)


def _image(entry: dict[str, Any]) -> tuple[int, str, str, int, int]:
    name = PurePosixPath(entry["file_name"])
    return int(entry["id"]), name.with_suffix("").as_posix(), name.stem, int(entry["height"]), int(entry["width"])


def _annotation(entry: dict[str, Any]) -> tuple[int, str, str]:
    segments = [
        (int(segment["id"]), int(segment["category_id"]), int(segment.get("iscrowd", 0))) for segment in entry["segments_info"]
    ]
    return int(entry["image_id"]), str(entry["file_name"]), json.dumps(segments)


ROWS = {
    "images": ("insert into images values (?, ?, ?, ?, ?)", _image),
    "annotations": ("insert into annotations values (?, ?, ?)", _annotation),
    "categories": ("insert into categories values (?, ?)", lambda entry: (int(entry["id"]), str(entry["name"]))),
}

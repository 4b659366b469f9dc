"""Photographs: found, decoded once, split by photograph. A new kind of source is one function here.

`index` lists them in `data/source.json` (the DVC dependency that makes a changed folder a changed data set).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from iqaflow.config import Config
from iqaflow.data.images import SUFFIXES, ImageError, decode, perceptual_hash
from iqaflow.data.tables import SPLITS
from iqaflow.ops.errors import StageError
from iqaflow.ops.files import write_json
from iqaflow.sections import Source
from iqaflow.workspace import Workspace

# The split of the packaged photographs is frozen, so that results compare across versions. The two motorcycles are a
# stereo pair: one scene, one split.
PACKAGED = {
    "train": ("astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "hubble_deep_field.jpg", "ihc.png",
              "retina.jpg"),
    "calibration": ("rocket.jpg", "china.jpg"),
    "test": ("chelsea.png", "coffee.png", "flower.jpg"),
}
PACKAGED_LICENSE = "distributed with scikit-image and scikit-learn (public domain or CC0/CC-BY, see their data READMEs)"
NEAR_DUPLICATE_BITS = 4


class Photograph(BaseModel):
    """One usable photograph. `origin` is a file name inside its source, never a machine path."""

    source_id: str
    sha256: str
    origin: str
    license: str
    width: int
    height: int
    phash: str
    split: str = ""


class Index(BaseModel):
    """What a source holds: the photographs in use, and every file left out with the reason."""

    kind: str
    photographs: list[Photograph]
    quarantine: list[dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> Index:
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StageError(f"{path} cannot be read ({type(error).__name__}): run `iqaflow sources` again.") from None

    def of(self, split: str) -> list[Photograph]:
        return [photograph for photograph in self.photographs if photograph.split == split]


def index_path(workspace: Workspace) -> Path:
    return workspace.root / "data" / "source.json"


def index(config: Config, workspace: Workspace) -> Index:
    """List, decode and split the photographs of `config.source`; write `data/source.json`.

    Raises StageError if fewer than three usable photographs are found (one for each split).
    """
    source = config.source
    photographs: list[Photograph] = []
    quarantine: list[dict[str, str]] = []
    cache = _Cache(workspace.state / "source-cache.json", source)
    seen: dict[str, str] = {}
    for name, path in _files(source, workspace):
        try:
            entry = cache.read(path) or cache.add(path, _examine(path, source))
            if entry["sha256"] in seen:
                raise ImageError(f"{path.name} has the same bytes as {seen[entry['sha256']]}")
        except ImageError as error:
            quarantine.append({"file": name, "reason": str(error)})
            continue
        seen[entry["sha256"]] = name
        licence = PACKAGED_LICENSE if source.kind == "packaged" else source.license
        photographs.append(Photograph(source_id=f"{Path(name).stem[:40]}-{entry['sha256'][:8]}", origin=name,
                                      license=licence, **entry))
    cache.save()
    photographs = _split(photographs, source)
    missing = [split for split in SPLITS if not any(photograph.split == split for photograph in photographs)]
    if missing:
        where = f"source.path={source.path}" if source.kind == "folder" else "the packaged photographs"
        first = f"; first reason: {quarantine[0]['reason']}" if quarantine else ""
        raise StageError(
            f"{where}: {len(photographs)} usable photographs, but at least 3 different scenes are needed, one for each of "
            f"{', '.join(SPLITS)}; {len(quarantine)} files were left out{first}."
        )
    result = Index(kind=source.kind, photographs=photographs, quarantine=quarantine)
    text = result.model_dump()
    if not index_path(workspace).is_file() or json.loads(index_path(workspace).read_text()) != text:
        write_json(index_path(workspace), text)
    return result


def load(photograph: Photograph, source: Source, workspace: Workspace) -> np.ndarray:
    """The photograph's pixels, uint8 RGB (H, W, 3). Raises StageError if its file changed since it was indexed."""
    path = _root(source, workspace, photograph.origin) / photograph.origin
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != photograph.sha256:
        raise StageError(f"{path} changed or vanished since it was indexed: run the same command again.")
    return decode(data, source.max_pixels)


def _root(source: Source, workspace: Workspace, origin: str) -> Path:
    if source.kind == "folder":
        return (workspace.root / Path(source.path or "").expanduser()).resolve()
    package, inside = ("sklearn", "datasets/images") if origin in ("china.jpg", "flower.jpg") else ("skimage", "data")
    spec = find_spec(package)  # where it lies; importing it would take seconds
    return Path(spec.origin).parent / inside if spec and spec.origin else Path(package) / inside


def _files(source: Source, workspace: Workspace) -> Iterator[tuple[str, Path]]:
    if source.kind == "packaged":
        for name in sorted(name for names in PACKAGED.values() for name in names):
            yield name, _root(source, workspace, name) / name
        return
    root = _root(source, workspace, "")
    if not root.is_dir():
        raise StageError(f"source.path={source.path} is not a directory: give a folder of images.")
    for path in sorted(root.rglob("*")):
        # links could lead outside the folder; hidden files are not photographs
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            yield path.relative_to(root).as_posix(), path


def _examine(path: Path, source: Source) -> dict[str, Any]:
    if path.suffix.lower() not in SUFFIXES:
        raise ImageError(f"{path.name} has no image suffix")
    data = path.read_bytes()
    image = decode(data, source.max_pixels, source.min_side_px)
    return {"sha256": hashlib.sha256(data).hexdigest(), "height": image.shape[0], "width": image.shape[1],
            "phash": perceptual_hash(image)}


def _split(photographs: list[Photograph], source: Source) -> list[Photograph]:
    if source.kind == "packaged":
        of = {name: split for split, names in PACKAGED.items() for name in names}
        return [photograph.model_copy(update={"split": of[photograph.origin]}) for photograph in photographs]
    scenes = _scenes(sorted(photographs, key=lambda photograph: photograph.sha256))
    if source.limit:
        scenes = scenes[: source.limit]
    weights = np.array([getattr(source.weights, split) for split in SPLITS], dtype=float)
    filled = np.zeros(3)
    chosen = []
    for number, scene in enumerate(scenes):
        # hash order is random but fixed; each scene goes where the share is furthest behind, test and
        # calibration first so that three scenes already fill all splits
        turn = 2 - number if number < 3 else int(np.argmin(filled / weights))
        filled[turn] += len(scene)
        chosen += [photograph.model_copy(update={"split": SPLITS[turn]}) for photograph in scene]
    return sorted(chosen, key=lambda photograph: photograph.origin)


def _scenes(photographs: list[Photograph]) -> list[list[Photograph]]:
    """Group near-duplicates (burst shots, resized copies) by perceptual hash: a scene never crosses splits."""
    hashes = np.array([int(photograph.phash, 16) for photograph in photographs], dtype=np.uint64)
    leader = np.arange(len(photographs))
    for row in range(len(photographs)):
        near = np.flatnonzero(np.bitwise_count(hashes[:row] ^ hashes[row]) <= NEAR_DUPLICATE_BITS)
        for other in near:
            leader[leader == leader[row]] = leader[other]
    scenes: dict[int, list[Photograph]] = {}
    for photograph, group in zip(photographs, leader, strict=True):
        scenes.setdefault(int(group), []).append(photograph)
    return list(scenes.values())


class _Cache:
    """Examined files by path, size and time, so that an unchanged folder of thousands is indexed in a second."""

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.limits = path, [source.max_pixels, source.min_side_px]
        self.new: dict[str, Any] = {}
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            self.old = old["entries"] if old["limits"] == self.limits else {}
        except (OSError, ValueError, KeyError):
            self.old = {}  # only a cache: examined again

    def _key(self, path: Path) -> str:
        stat = path.stat()
        return f"{path}:{stat.st_size}:{stat.st_mtime_ns}"

    def read(self, path: Path) -> dict[str, Any] | None:
        entry = self.old.get(self._key(path))
        return self.add(path, entry) if entry else None

    def add(self, path: Path, entry: dict[str, Any]) -> dict[str, Any]:
        self.new[self._key(path)] = entry
        return entry

    def save(self) -> None:
        write_json(self.path, {"limits": self.limits, "entries": self.new})

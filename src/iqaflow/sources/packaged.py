"""Photographs that come with scikit-image and scikit-learn: nothing to download, the same for everybody."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from iqaflow.core.config.schema import Source
from iqaflow.core.workspace import Workspace
from iqaflow.sources.licences import Licences
from iqaflow.sources.listing import Holding

# The split of the packaged photographs is frozen, so that results compare across versions. The two motorcycles are a
# stereo pair: one scene, one split.
PACKAGED = {
    "train": ("astronaut.png", "motorcycle_left.png", "motorcycle_right.png", "hubble_deep_field.jpg", "ihc.png", "retina.jpg"),
    "calibration": ("rocket.jpg", "china.jpg"),
    "test": ("chelsea.png", "coffee.png", "flower.jpg"),
}
LICENSE = "distributed with scikit-image and scikit-learn (public domain or CC0/CC-BY, see their data READMEs)"


def bring(source: Source, workspace: Workspace) -> Holding:
    """The packaged photographs with their frozen splits."""
    splits = {name: split for split, names in PACKAGED.items() for name in names}
    return Holding([(name, path(name, source, workspace)) for name in sorted(splits)], Licences(LICENSE), splits=splits)


def path(origin: str, source: Source, workspace: Workspace) -> Path:
    """Where a photograph lies."""
    package, inside = ("sklearn", "datasets/images") if origin in ("china.jpg", "flower.jpg") else ("skimage", "data")
    spec = find_spec(package)  # where it lies; importing it would take seconds
    return (Path(spec.origin).parent / inside if spec and spec.origin else Path(package) / inside) / origin

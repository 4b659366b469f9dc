"""The photographs a data set is made from, as `data/source.json` lists them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel
from typing_extensions import TypedDict

from iqaflow.core.errors import StageError

OWN = "synthetic"


class LeftOut(TypedDict):
    """A file, or an entry of one, that is not used, and why in words."""

    file: str
    reason: str


class Photograph(BaseModel):
    """One usable photograph. `origin` is its name inside its source (or below `labelled.images`), never a machine path."""

    source_id: str
    sha256: str
    origin: str
    license: str
    width: int
    height: int
    phash: str
    split: str = ""
    dataset: str = OWN
    """`synthetic` for the main source, else the name of a labelled data set."""
    credit: str = ""
    """Author, or address of first publication, where the source tells it."""


class Index(BaseModel):
    """What the sources hold: the photographs in use, and every file left out with the reason."""

    kind: str
    photographs: list[Photograph]
    quarantine: list[LeftOut]
    inputs: dict[str, str] = {}
    """SHA-256 of what the annotation reads besides the photographs: label files, masks, segmenter weights."""
    provenance: list[dict[str, str]] = []
    """Addresses with checksums, or DVC repositories with revisions, that the photographs come from."""

    @classmethod
    def read(cls, path: Path) -> Index:
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StageError(f"{path} cannot be read ({type(error).__name__}): run `iqaflow sources` again.") from None

    def of(self, split: str, dataset: str = OWN) -> list[Photograph]:
        """The photographs of one split of one data set."""
        return [photograph for photograph in self.photographs if photograph.split == split and photograph.dataset == dataset]

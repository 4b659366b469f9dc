"""Labelled data sets as rows of the two tables: regions that people labelled, descriptions they wrote, dialogues as they are.

An item of a label file (`annotate.imports`) becomes a row for each of its images and one for each question:

- findings: a scene (people.py) and what the tasks ask about it, origin `authentic`;
- a description: grounded where `annotate.detector` has a model, origin `grounded`; else, or where no box was found, the
  answer to a plain request, `imported`;
- a dialogue: a row for each question, origin `imported` (dialogues.py).

`entries.items` says which items there are; the rows of one are a function of its place, its content and the seed.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from iqaflow import sources
from iqaflow.annotate import dialogues, people
from iqaflow.annotate.entries import items
from iqaflow.annotate.imports import Item
from iqaflow.annotate.table_rows import conversation_row, known_score, region_row
from iqaflow.core.config import Config
from iqaflow.core.config.schema import Labelled
from iqaflow.core.errors import StageError
from iqaflow.core.version import VERSION
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import encode_lossless
from iqaflow.data.photographs import Index, Photograph
from iqaflow.data.rows import ConversationRow, DistortionRow, ImageRow, Origin, Split
from iqaflow.tasks.scene import Area, Exchange, Flaw, Scene

__all__ = ["items", "make"]

AUTHENTIC: Origin = "authentic"
GROUNDED: Origin = "grounded"
IMPORTED: Origin = "imported"
PEOPLE = "human"
ORIENTATION = 0x0112  # the EXIF tag
PNG_END = b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class _Sourced:
    """An exchange with where it is from."""

    exchange: Exchange
    origin: Origin
    teacher: str
    confidence: float | None = None


class _Picture:
    """The file of a photograph: its bytes, and its pixels once somebody needs them."""

    def __init__(self, photograph: Photograph, config: Config, workspace: Workspace) -> None:
        self.photograph, self.config, self.workspace = photograph, config, workspace

    @cached_property
    def pixels(self) -> np.ndarray:
        return sources.load(self.photograph, self.config.source, self.workspace)

    def stored(self) -> bytes:
        """The very bytes of an upright RGB JPEG or PNG, else the pixels without loss."""
        path = sources.path(self.photograph, self.config.source, self.workspace)
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() != self.photograph.sha256:
            raise StageError(f"{path} changed or vanished since it was indexed: run the same command again.")
        return data if _as_it_is(data) else encode_lossless(self.pixels)


def make(
    items: list[Item], labelled: Labelled, split: Split, config: Config, index: Index, workspace: Workspace, first: int = 0
) -> tuple[list[ImageRow], list[ConversationRow]]:
    """Rows of `images` and of `conversations` of some items of a split, the first of which has the place `first` in
    `items(...)`. A function of (seed, name, split, item, place) alone. Raises StageError if an image changed since it was
    indexed, and what `grounding.ground` raises.
    """
    photographs = {photograph.origin: photograph for photograph in index.of(split, labelled.name)}
    images: list[ImageRow] = []
    conversations: list[ConversationRow] = []
    for number, item in enumerate(items, first):
        name = f"{labelled.name}-{split}-{number:06d}"
        pictures = {role: _Picture(photographs[file], config, workspace) for role, file in item.images}
        rng = np.random.default_rng([config.seed, *hashlib.sha256(f"{labelled.name}\0{split}\0{item!r}".encode()).digest()[:16]])
        scene, exchanges = _exchanges(item, name, pictures, labelled, split, config, workspace, rng)
        if not exchanges:  # no region of it is left once drawn
            continue
        conversations += [
            _conversation_row(sourced, item, name, number, labelled, split) for number, sourced in enumerate(exchanges)
        ]
        shown = any(sourced.origin == IMPORTED for sourced in exchanges) and "reference" in pictures
        reference = pictures["reference"].stored() if shown else None
        for role in sorted(pictures.keys() - {"reference"}):
            images.append(
                _image_row(scene, item, _image_id(name, role), pictures[role], reference, exchanges, labelled, split, config)
            )
    return images, conversations


def _exchanges(
    item: Item,
    name: str,
    pictures: dict[str, _Picture],
    labelled: Labelled,
    split: str,
    config: Config,
    workspace: Workspace,
    rng: np.random.Generator,
) -> tuple[Scene | None, list[_Sourced]]:
    """The scene of an item about one image, with the regions of its description, and everything that is asked."""
    exchanges: list[_Sourced] = []
    scene = None
    if "image" in pictures:
        picture = pictures["image"]
        height, width = picture.photograph.height, picture.photograph.width
        scene, graded = people.scene(item, name, height, width, lambda: picture.pixels)
        about_scene = people.exchanges(item, scene, graded, rng, split != "train")
        exchanges += [_Sourced(exchange, AUTHENTIC, PEOPLE, 1.0) for exchange in about_scene]
    if item.description:
        scene, described = _described(item, scene, pictures, labelled, config, workspace)
        exchanges += described
    exchanges += [_as_given(dialogues.turn(question, answer, scene), labelled) for question, answer in item.dialogue]
    return scene, exchanges


def _described(
    item: Item, scene: Scene | None, pictures: dict[str, _Picture], labelled: Labelled, config: Config, workspace: Workspace
) -> tuple[Scene | None, list[_Sourced]]:
    if scene and config.annotate.detector.model:
        from iqaflow.annotate.grounding import ground

        grounded = ground(item.description or "", pictures["image"].pixels, config, workspace)
        if grounded.regions:
            start = len(scene.areas)
            areas = (
                Area(number, region.label, region.mask, region.box, float("nan"))
                for number, region in enumerate(grounded.regions, start)
            )
            scene = replace(scene, areas=(*scene.areas, *areas))
            return scene, [
                _Sourced(_moved(exchange, start, scene), GROUNDED, grounded.teacher, grounded.confidence)
                for exchange in grounded.exchanges
            ]
    return scene, [_as_given(dialogues.description(item.description or "", scene, "reference" in pictures), labelled)]


def _as_given(exchange: Exchange, labelled: Labelled) -> _Sourced:
    return _Sourced(exchange, IMPORTED, f"{IMPORTED}:{labelled.name}")


def _moved(exchange: Exchange, start: int, scene: Scene) -> Exchange:
    """An exchange about regions counted from `start`; of its categories those that the image is known to have."""
    regions = tuple(start + region for region in exchange.targets.region_ids)
    categories = dialogues.known(exchange.targets.categories, scene)
    return replace(exchange, targets=replace(exchange.targets, region_ids=regions, categories=categories))


def _image_id(name: str, role: str) -> str:
    return name if role == "image" else f"{name}-{role.lower()}"


def _image_row(
    scene: Scene | None,
    item: Item,
    image_id: str,
    picture: _Picture,
    reference: bytes | None,
    exchanges: list[_Sourced],
    labelled: Labelled,
    split: Split,
    config: Config,
) -> ImageRow:
    photograph = picture.photograph
    score = known_score(scene.score) if scene else None
    origins = {sourced.origin for sourced in exchanges}
    return {
        "image_id": image_id,
        "origin": next(origin for origin in (AUTHENTIC, GROUNDED, IMPORTED) if origin in origins),
        "dataset": labelled.name,
        "source_id": photograph.source_id,
        "source_sha256": photograph.sha256,
        "source_origin": photograph.origin,
        "license": photograph.license,
        "split": split,
        "width": photograph.width,
        "height": photograph.height,
        "image": picture.stored(),
        "reference": reference,
        "distortions": [_flaw_row(flaw) for flaw in scene.flaws] if scene else [],
        "regions": [region_row(area) for area in scene.areas] if scene else [],
        "score": score,
        "score_std": None if score is None else item.spread,
        "score_source": None if score is None else item.score_source,
        "phash": photograph.phash,
        "pipeline_version": VERSION,
        "seed": config.seed,
    }


def _flaw_row(flaw: Flaw) -> DistortionRow:
    graded = flaw.severity != people.UNGRADED
    return {
        "name": None,
        "category": flaw.category,
        "level": float(flaw.level) if graded else None,
        "severity": flaw.severity if graded else None,
        "order": flaw.order,
        "region_id": flaw.region,
    }


def _conversation_row(sourced: _Sourced, item: Item, name: str, number: int, labelled: Labelled, split: Split) -> ConversationRow:
    exchange = sourced.exchange
    # people who label or describe see the image alone; who gave a reference to a dialogue showed it
    roles = [
        role
        for role in ("reference", "image", "A", "B")
        if role in dict(item.images) and (role != "reference" or sourced.origin == IMPORTED)
    ]
    about = next(role for role in roles if role != "reference")
    return conversation_row(
        exchange,
        f"{name}-{number:02d}",
        [(role, _image_id(name, about if role == "reference" else role)) for role in roles],
        origin=sourced.origin,
        dataset=labelled.name,
        reference_mode="fr" if "reference" in roles else "nr",
        spans=dialogues.spans(exchange) if sourced.origin == IMPORTED else exchange.spans(),
        teacher=sourced.teacher,
        confidence=sourced.confidence,
        split=split,
    )


def _as_it_is(data: bytes) -> bool:
    """Whether every reader of a file sees the same: a JPEG or PNG that is RGB, upright, opaque, and ends where it should."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            upright = image.getexif().get(ORIENTATION, 1) == 1
            whole = image.format == "JPEG" or (image.format == "PNG" and data.endswith(PNG_END))
            return upright and whole and image.mode == "RGB" and "transparency" not in image.info
    except UnidentifiedImageError:
        return False

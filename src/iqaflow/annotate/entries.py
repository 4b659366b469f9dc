"""The entries of a label file that can be used: their images are photographs of the index, of one split, and their labels and
texts are sound. Everything else is left out with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from iqaflow.annotate import imports, people
from iqaflow.annotate.imports import Item
from iqaflow.core.config.schema import Labelled
from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import Index, LeftOut
from iqaflow.data.tables import SPLITS

LONGEST = 2000  # words of a text: more does not fit beside an image
SHOWN = (["A", "B"], ["image"])  # roles without the reference


class _Image(NamedTuple):
    """What decides whether an item can be used, and what it is worth reading the label file again for."""

    name: str
    split: str
    sha256: str
    width: int
    height: int


def items(labelled: Labelled, index: Index, workspace: Workspace) -> tuple[dict[str, list[Item]], list[LeftOut]]:
    """The usable items of a labelled data set by split, in the order of its file, and what is left out, `{file, reason}`.

    `labelled.limit` keeps the items of so many images, by content hash. Raises what `imports.read` raises.
    """
    images = tuple(
        _Image(photograph.origin, photograph.split, photograph.sha256, photograph.width, photograph.height)
        for photograph in index.photographs
        if photograph.dataset == labelled.name
    )
    reasons = tuple(
        (entry["file"], entry["reason"]) for entry in index.quarantine if entry["file"].startswith(f"{labelled.name}: ")
    )
    usable, left_out = _sorted(labelled, workspace, index.inputs.get(f"labelled.{labelled.name}", ""), images, reasons)
    return {split: list(usable[split]) for split in SPLITS}, [entry.copy() for entry in left_out]


@lru_cache(maxsize=8)  # every shard asks for them
def _sorted(
    labelled: Labelled, workspace: Workspace, digest: str, images: tuple[_Image, ...], reasons: tuple[tuple[str, str], ...]
) -> tuple[dict[str, list[Item]], list[LeftOut]]:
    """`digest` is that of the label file: a changed one is read again."""
    known = {image.name: image for image in images}
    missing = dict(reasons)
    left_out: list[LeftOut] = []

    def without(what: str, reason: str) -> None:
        left_out.append({"file": f"{labelled.name}: {what}", "reason": reason})

    read = imports.read(labelled, workspace, without)
    unclean = _unclean(read)
    usable: list[Item] = []
    for item in read:
        reason = _refused(item, known, {name: missing.get(f"{labelled.name}: {name}", "") for _, name in item.images})
        what = ", ".join(name for _, name in item.images) or "an entry"
        if reason:
            without(what, reason)
            continue
        sound = item
        for kind, why in _faults(item, known, unclean):
            without(what, why)
            sound = _without(sound, kind, unclean)
        if sound.findings or sound.description or sound.dialogue or sound.score is not None:
            usable.append(sound)
        elif sound == item:
            without(what, "nothing is said about it")
    result: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for item in _limited(usable, known, labelled.limit):
        result[known[item.images[0][1]].split].append(item)
    return result, left_out


def _refused(item: Item, known: dict[str, _Image], missing: dict[str, str]) -> str | None:
    """Why the images of an item cannot be used, or None."""
    roles = [role for role, _ in item.images]
    if sorted(set(roles) - {"reference"}) not in SHOWN or len(set(roles)) < len(roles):
        return f"its images are {', '.join(roles) or 'none'}; it takes one image, or A and B, and at most one reference"
    for _, name in item.images:
        if name not in known:
            return f"{name} was left out ({missing[name]})" if missing[name] else f"there is no photograph {name} in its `images`"
    shown = {role: known[name] for role, name in item.images}
    splits = sorted({image.split for image in shown.values()})
    if len(splits) > 1:
        return f"its images lie in different splits ({', '.join(splits)}), as their scenes do"
    if "A" in shown and shown["A"].sha256 == shown["B"].sha256:
        return "A and B are one image"
    if reference := shown.get("reference"):
        for image in shown.values():
            if (image.width, image.height) != (reference.width, reference.height):
                return (
                    f"{image.name} is {image.width}x{image.height} px, but its reference {reference.name} is "
                    f"{reference.width}x{reference.height} px"
                )
    return None


def _faults(item: Item, known: dict[str, _Image], unclean: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The fields of an item that cannot be used, with the reason. One unsound finding spoils them all: what nobody marked
    counts as clear.
    """
    if item.findings and "image" not in dict(item.images):
        yield "findings", "its regions do not say which of two images they are of"
    elif item.findings:
        image = known[dict(item.images)["image"]]
        faults = (people.fault(finding, image.height, image.width) for finding in item.findings)
        if reason := next((fault for fault in faults if fault), None):
            yield "findings", reason
        elif not people.askable(item.findings):
            yield "findings", "it has three distortions or more and not all their severities"
    if item.score is not None and ("image" not in dict(item.images) or not 0 <= item.score <= 1):
        yield "score", f"its score {item.score} lies outside 0..1" if "image" in dict(item.images) else "a pair has no score"
    if item.description is not None and (reason := unclean.get(item.description)):
        yield "description", f"its description cannot be used: {reason}"
    refused = [reason for pair in item.dialogue if (reason := _of(pair, unclean))]
    if refused:
        yield "dialogue", f"{len(refused)} of its {len(item.dialogue)} questions cannot be used, first reason: {refused[0]}"


def _without(item: Item, kind: str, unclean: dict[str, str]) -> Item:
    """An item without what is unsound of one of its fields."""
    if kind == "findings":
        return replace(item, findings=())
    if kind == "dialogue":
        return replace(item, dialogue=tuple(pair for pair in item.dialogue if not _of(pair, unclean)))
    return replace(item, score=None) if kind == "score" else replace(item, description=None)


def _of(pair: tuple[str, str], unclean: dict[str, str]) -> str | None:
    return unclean.get(pair[0]) or unclean.get(pair[1])


def _unclean(read: list[Item]) -> dict[str, str]:
    """The texts that must not be learnt from, with the reason: the gate would stop the whole data set for one of them."""
    import pyarrow as pa

    from iqaflow.data import text_hygiene

    written = ((item.description, *(text for pair in item.dialogue for text in pair)) for item in read)
    texts = list(dict.fromkeys(text for of_item in written for text in of_item if text is not None))
    faults = text_hygiene.faults(pa.array(texts, pa.string()))
    unclean = {text: f"it has {fault}" for text, fault in zip(texts, faults, strict=True) if fault}
    return {text: f"it has more than {LONGEST} words" for text in texts if len(text.split()) > LONGEST} | unclean


def _limited(usable: list[Item], known: dict[str, _Image], limit: int | None) -> list[Item]:
    """The items of at most `limit` images (a reference is none), chosen by content hash, in their order."""
    if limit is None:
        return usable

    def mine(item: Item) -> list[str]:
        return sorted(known[name].sha256 for role, name in item.images if role != "reference")

    def rank(place: int) -> tuple[bytes, int]:
        return hashlib.sha256("".join(mine(usable[place])).encode()).digest(), place

    chosen: set[str] = set()
    kept = []
    for place in sorted(range(len(usable)), key=rank):
        if len(chosen.union(mine(usable[place]))) <= limit:
            chosen.update(mine(usable[place]))
            kept.append(place)
    return [usable[place] for place in sorted(kept)]

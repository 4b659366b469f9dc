"""Photographs: found, decoded once, split by scene. A new kind of source is one new file here with `bring` and `path`.

    iqaflow sources

`index` lists them in `data/source.json` (the DVC dependency that makes a changed folder a changed data set): those of
`config.source` and those of every labelled data set, so that copies of one scene share a split wherever they are.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from iqaflow.core import plugins
from iqaflow.core.config.schema import SCORES_TABLE
from iqaflow.core.errors import StageError
from iqaflow.core.files import write_json
from iqaflow.core.plugins import KINDS
from iqaflow.core.workspace import Workspace
from iqaflow.data.images import SUFFIXES, decode
from iqaflow.data.photographs import OWN, Index, LeftOut, Photograph
from iqaflow.data.tables import SPLITS

if TYPE_CHECKING:
    import numpy as np

    from iqaflow.core.config import Config
    from iqaflow.core.config.schema import Labelled, Source
    from iqaflow.sources.cache import Cache
    from iqaflow.sources.listing import Holding


class Kind(Protocol):
    """What a kind of source must define."""

    def bring(self, source: Source, workspace: Workspace) -> Holding: ...
    def path(self, origin: str, source: Source, workspace: Workspace) -> Path: ...


def index_path(workspace: Workspace) -> Path:
    return workspace.root / "data" / "source.json"


def index(config: Config, workspace: Workspace) -> Index:
    """Bring, list, decode and split the photographs of `config.source`; write `data/source.json`.

    Raises StageError if the main source has fewer than three usable scenes (one for each split), and whatever the kind of
    source raises when it cannot bring its photographs.
    """
    from iqaflow.sources import cache, split

    source = config.source
    examined = cache.Cache(workspace.state / "source-cache.json", source)
    main = _without_scores(_kind(source).bring(source, workspace), source)
    photographs, quarantine = _usable(main, OWN, examined)
    for labelled in source.labelled:
        ours = source.kind == "dvc" and labelled.images == source.path  # where DVC makes links
        more, left_out = _usable(_labelled(labelled, workspace, links=ours), labelled.name, examined)
        photographs += more
        quarantine += left_out
    inputs = _digests(config, workspace, examined)
    examined.save()
    photographs, left_out = split.assign(photographs, source.weights, source.limit, main.splits)
    quarantine += left_out
    result = Index(kind=source.kind, photographs=photographs, quarantine=quarantine, inputs=inputs, provenance=main.provenance)
    missing = [name for name in SPLITS if not result.of(name)]
    if missing:
        where = f"source.path={source.path}" if source.kind in ("folder", "dvc") else f"the {source.kind} photographs"
        first = f"; first reason: {quarantine[0]['reason']}" if quarantine else ""
        usable = sum(photograph.dataset == OWN for photograph in photographs)
        raise StageError(
            f"{where}: {usable} usable photographs, but at least 3 different scenes are needed, one for each of "
            f"{', '.join(SPLITS)}; {len(quarantine)} files were left out{first}."
        )
    tree = result.model_dump()
    if not index_path(workspace).is_file() or json.loads(index_path(workspace).read_text(encoding="utf-8")) != tree:
        write_json(index_path(workspace), tree)
    return result


def path(photograph: Photograph, source: Source, workspace: Workspace) -> Path:
    """Where the photograph's file lies on this machine."""
    from iqaflow.sources.listing import located

    if photograph.dataset == OWN:
        return _kind(source).path(photograph.origin, source, workspace)
    for labelled in source.labelled:
        if labelled.name == photograph.dataset:
            return located(labelled.images, workspace) / photograph.origin
    raise StageError(
        f"source.labelled has no data set {photograph.dataset!r} (photograph {photograph.source_id}): run "
        "`iqaflow sources` again."
    )


def load(photograph: Photograph, source: Source, workspace: Workspace) -> np.ndarray:
    """The photograph's pixels, uint8 RGB (H, W, 3). Raises StageError if its file changed since it was indexed."""
    file = path(photograph, source, workspace)
    try:
        data = file.read_bytes()
    except OSError:
        data = b""
    if hashlib.sha256(data).hexdigest() != photograph.sha256:
        raise StageError(f"{file} changed or vanished since it was indexed: run the same command again.")
    return decode(data, source.max_pixels)


def _kind(source: Source) -> Kind:
    return cast(Kind, KINDS["sources"].module(source.kind, "source.kind"))


def _without_scores(holding: Holding, source: Source) -> Holding:
    """A table of scores is no photograph; one that the parameters do not speak of is left out with a hint."""
    import dataclasses

    files = [file for file in holding.files if file[0] not in (source.scores, SCORES_TABLE)]
    hint: LeftOut = {"file": SCORES_TABLE, "reason": f"a table of scores: learn from it by source.scores={SCORES_TABLE}"}
    missed = not source.scores and len(files) < len(holding.files)
    return dataclasses.replace(holding, files=files, left_out=[*holding.left_out, *([hint] if missed else [])])


def _labelled(labelled: Labelled, workspace: Workspace, links: bool = False) -> Holding:
    """The images of a labelled data set; other files beside them are labels and of no concern here."""
    import dataclasses

    from iqaflow.sources.folder import held
    from iqaflow.sources.listing import located

    where = f"source.labelled: {labelled.name}: images={labelled.images}"
    holding = held(located(labelled.images, workspace), where, labelled.license, links)
    files = [file for file in holding.files if file[1].suffix.lower() in SUFFIXES]
    left_out: list[LeftOut] = [
        {"file": f"{labelled.name}: {entry['file']}", "reason": entry["reason"]} for entry in holding.left_out
    ]
    return dataclasses.replace(holding, files=files, left_out=left_out)


def _usable(holding: Holding, dataset: str, examined: Cache) -> tuple[list[Photograph], list[LeftOut]]:
    """Decode every file: photographs without a split, and what is left out."""
    photographs: list[Photograph] = []
    quarantine = list(holding.left_out)
    seen: dict[str, str] = {}
    taken: Counter[str] = Counter()
    shown = "" if dataset == OWN else f"{dataset}: "
    entries = examined.examine([file for _, file in holding.files])
    for (name, file), entry in zip(holding.files, entries, strict=True):
        reason = entry.get("reason")
        if not reason and entry["sha256"] in seen:
            reason = f"{file.name} has the same bytes as {seen[entry['sha256']]}"
        if reason:
            quarantine.append({"file": f"{shown}{name}", "reason": reason})
            continue
        seen[entry["sha256"]] = name
        licence, credit = holding.licences.of(name)
        id = f"{'' if dataset == OWN else f'{dataset}.'}{file.stem[:40]}-{entry['sha256'][:8]}"
        taken[id] += 1  # two files whose hashes begin alike
        photographs.append(
            Photograph(
                source_id=id if taken[id] == 1 else f"{id}-{taken[id]}",
                origin=name,
                license=licence,
                dataset=dataset,
                credit=credit,
                sha256=entry["sha256"],
                height=entry["height"],
                width=entry["width"],
                phash=entry["phash"],
            )
        )
    return photographs, quarantine


def _digests(config: Config, workspace: Workspace, cache: Cache) -> dict[str, str]:
    """What else the annotation reads, by content, so that a changed one makes a changed data set. SHA-256 by name:
    `labelled.NAME` of every labelled data set, what the regions are made from, and `plugins`, where there are any: their code
    decides what is made. Raises StageError if one is missing or unreadable.
    """
    from iqaflow import regions
    from iqaflow.sources.listing import located

    plugged = plugins.digest()
    digests = {plugins.NAME: plugged} if plugged else {}
    for labelled in config.source.labelled:
        where = f"source.labelled: {labelled.name}: path={labelled.path}"
        try:
            digests[f"labelled.{labelled.name}"] = _digest(located(labelled.path, workspace), cache)
        except FileNotFoundError:
            raise StageError(f"{where} does not exist: give the label file or the folder that holds it.") from None
        except OSError as error:
            raise StageError(f"{where} cannot be read ({error.strerror}).") from None
    return digests | regions.inputs(config, workspace)


def _digest(path: Path, cache: Cache) -> str:
    """Of a file: its own. Of a folder: of the names and contents of all files below it."""
    from iqaflow.sources.listing import walk

    if not path.is_dir():
        return cache.digest(path)
    lines = [f"{name}\0{cache.digest(file)}\n" for name, file in walk(path)[0]]
    return hashlib.sha256("".join(lines).encode()).hexdigest()

"""An annotated data set in the form that other tools read. A format is one file here.

    iqaflow export OUT --format datasets|chat|both

A format module defines `write(source, folder) -> list[Part]`: it writes its files into `folder` and says which of them hold
which split, so that the card can list them for `datasets.load_dataset`.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iqaflow.config import Config
from iqaflow.ops.errors import InputError
from iqaflow.ops.files import MANIFEST, NoSpaceError, commit_directory, explain_full_disk, read_manifest, write_text
from iqaflow.workspace import Workspace

PARTS = ("card", "census", "command")  # modules here that are no formats
BOTH = "both"
SCHEMA = "iqaflow.export/1"


@dataclass(frozen=True)
class Source:
    """The annotated data set that is exported: its folder and its manifest, whose files were verified."""

    folder: Path
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A table of an export: a glob of its files by split. `load_dataset` opens the first part of the first format if it is
    not told which."""

    name: str
    files: dict[str, str]


def formats() -> list[str]:
    """The names for `--format`, besides `both`."""
    return sorted((module.name for module in pkgutil.iter_modules(__path__) if module.name not in PARTS), reverse=True)


def export(config: Config, workspace: Workspace, out: Path, layout: str = BOTH, force: bool = False) -> dict[str, Any]:
    """Write `data/annotated` to the folder `out`, which appears whole or not at all, and return its manifest.

    Raises InputError for an unknown format, and for a folder that holds anything but, with `force`, an earlier export;
    DamagedError if the annotated files are not those of their manifest; NoSpaceError if the disk is or would be full.
    """
    from iqaflow.data.export import card, census

    chosen = formats() if layout == BOTH else [layout]
    if not set(chosen) <= set(formats()):
        raise InputError(f"--format {layout} is unknown; choose one of {', '.join(formats())}, {BOTH}.")
    out = _free(out, force)
    source = Source(workspace.annotated, read_manifest(workspace.annotated, verify=True))
    _room(source, out, len(chosen))
    with explain_full_disk(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            os.chmod(work, 0o755)  # of a folder like any other
            written = [part for name in chosen
                       for part in importlib.import_module(f"{__package__}.{name}").write(source, work)]
            counted = census.count(source.folder)
            write_text(work / "README.md", card.text(counted, written, source, config, workspace))
            extra = {"schema": SCHEMA, "formats": chosen, "counts": counted.totals,
                     "annotated": census.digest(source.folder)}
            return commit_directory(work, out, extra)
        finally:
            shutil.rmtree(work, ignore_errors=True)  # gone already, if it became `out`


def _free(out: Path, force: bool) -> Path:
    """The folder to write, which is empty, absent, or an earlier export that may be replaced."""
    out = out.expanduser().resolve()
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give a folder for the export.")
    if not out.is_dir() or not any(out.iterdir()):
        return out
    try:
        ours = json.loads((out / MANIFEST).read_text(encoding="utf-8")).get("schema") == SCHEMA
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise InputError(f"{out} is not empty and no earlier export: choose another folder.")
    if not force:
        raise InputError(f"{out} holds an earlier export: choose another folder, or replace it with --force.")
    return out


def _room(source: Source, out: Path, copies: int) -> None:
    """Whether the disk can hold the export. Raises NoSpaceError."""
    needed = copies * sum(entry["size"] for entry in source.manifest["files"].values())
    there = next(folder for folder in (out, *out.parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise NoSpaceError(28, f"No space left for {out}: the export takes about {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are "
                               "free: free some disk space and run the same command again")

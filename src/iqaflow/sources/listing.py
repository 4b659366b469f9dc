"""What a kind of source hands over, and how a folder is listed: every file is either used or left out with a reason."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from iqaflow.core.workspace import Workspace
from iqaflow.data.photographs import LeftOut
from iqaflow.sources.licences import Licences


@dataclass(frozen=True)
class Holding:
    """The files of a source as (name inside the source, path), and what is known about them."""

    files: list[tuple[str, Path]]
    licences: Licences
    left_out: list[LeftOut] = field(default_factory=list)
    provenance: list[dict[str, str]] = field(default_factory=list)
    """Where the files come from: an address with its SHA-256, or a DVC repository with its revision."""
    splits: dict[str, str] = field(default_factory=dict)
    """Splits that are frozen, by name; all others are drawn."""


def located(path: str, workspace: Workspace) -> Path:
    """A path of the parameters: relative ones are meant relative to the checkout."""
    return (workspace.root / Path(path).expanduser()).resolve()


def shown(name: str) -> str:
    """A file name that any text file can hold; bytes that are no UTF-8 become escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def walk(root: Path, links: bool = False) -> tuple[list[tuple[str, Path]], list[LeftOut]]:
    """Files below `root` in a fixed order, and what cannot be one of them with the reason.

    Hidden files and folders are passed over. Links are left out, as they could lead anywhere, unless `links` says that
    a tool the user trusts made them (to files; never to folders).
    """
    files: list[tuple[str, Path]] = []
    left_out: list[LeftOut] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError as error:
            left_out.append({"file": shown(folder.rstrip("/") or "."), "reason": f"the folder cannot be read ({error.strerror})"})
            continue
        for entry in entries:
            name = folder + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not links:
                left_out.append({"file": shown(name), "reason": "a link; links are not followed"})
            elif entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
            elif not entry.is_file():
                left_out.append({"file": shown(name), "reason": "not a regular file"})
            elif shown(name) != name:
                left_out.append({"file": shown(name), "reason": "its name is not valid UTF-8: rename it"})
            else:
                files.append((name, Path(entry.path)))
    return sorted(files, key=lambda file: file[0].split("/")), sorted(left_out, key=lambda entry: entry["file"])

"""An annotated data set for other tools: a Hugging Face datasets folder with a card, and chat JSON.

    iqaflow export OUT [--format datasets|chat|both]

The folder is put together beside its final place and renamed at the end; its manifest comes last.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from iqaflow.core.errors import InputError
from iqaflow.core.files import explain_full_disk
from iqaflow.core.manifest import commit_directory, read_manifest
from iqaflow.core.workspace import Workspace

FORMATS = ("datasets", "chat", "both")


def run(workspace: Workspace, out: Path, form: str = "both", force: bool = False) -> dict[str, int]:
    """Write `out` and return how many images and conversations it holds.

    Raises InputError for an unknown format or a folder that is not empty (unless `force`), DamagedError without whole data.
    """
    from iqaflow.orchestrate.export import chat, datasets

    if form not in FORMATS:
        raise InputError(f"--format {form} is unknown; choose one of {', '.join(FORMATS)}.")
    out = out.resolve()
    if out == workspace.annotated.resolve() or workspace.annotated.resolve() in out.parents:
        raise InputError(f"{out} lies inside the data set that is exported: give another folder.")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give a folder.")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise InputError(f"{out} is not empty: give another folder, or --force to replace what is there.")
    manifest = read_manifest(workspace.annotated, verify=True)
    work = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        with explain_full_disk(out):
            counts = {}
            if form in ("datasets", "both"):
                counts = datasets.write(workspace.annotated, work, manifest)
            if form in ("chat", "both"):
                counts = chat.write(workspace.annotated, work / "chat" if form == "both" else work)
            commit_directory(work, out, {"schema": "iqaflow.export/1", "format": form, "counts": counts})
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return counts

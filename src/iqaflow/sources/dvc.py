"""A folder that DVC keeps: `source.kind=dvc source.path=FOLDER`, brought by `dvc import`, `dvc import-url` or `dvc add`.

`FOLDER.dvc` beside it says what it holds. Data that is not there is fetched (`dvc checkout`, else `dvc pull`), data that
differs from its `.dvc` file is refused, and where it comes from is recorded in `data/source.json`.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from iqaflow.core.config.schema import Source
from iqaflow.core.errors import PipelineError, StageError
from iqaflow.core.security.redaction import redact
from iqaflow.core.workspace import Workspace
from iqaflow.sources import folder
from iqaflow.sources.listing import Holding, located


def bring(source: Source, workspace: Workspace) -> Holding:
    """The folder as its `.dvc` file says, fetched where it is missing.

    Raises StageError if there is no sound `.dvc` file or the folder was changed by hand, PipelineError if it cannot be fetched.
    """
    root = located(source.path or "", workspace)
    entry = root.with_name(f"{root.name}.dvc")
    origin = _provenance(entry, source)
    _restore(entry, root)
    # DVC makes links to its own cache where it is status to, so links are followed here
    holding = folder.held(root, f"source.path={source.path}", source.license, links=True)
    return dataclasses.replace(holding, provenance=[origin])


def path(origin: str, source: Source, workspace: Workspace) -> Path:
    """Where a photograph lies."""
    return located(source.path or "", workspace) / origin


def _provenance(entry: Path, source: Source) -> dict[str, str]:
    from ruamel.yaml import YAML, YAMLError

    try:
        tree: dict[str, Any] = YAML(typ="safe", pure=True).load(entry.read_text(encoding="utf-8"))
        out = tree["outs"][0]
        origin = {"from": "dvc", "md5": out.get("md5") or out.get("etag") or ""}
        for dependency in tree.get("deps", [])[:1]:
            repository = dependency.get("repo", {})
            origin |= {
                "url": redact(repository.get("url", "")),
                "rev": repository.get("rev_lock", ""),
                "path": dependency.get("path", ""),
            }
        return {key: str(value) for key, value in origin.items() if value}
    except FileNotFoundError:
        raise StageError(
            f"source.path={source.path}: {entry} is missing; bring the folder by `dvc import` or `dvc add`, or use "
            "source.kind=folder."
        ) from None
    except (OSError, YAMLError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise StageError(f"{entry} is not a .dvc file ({type(error).__name__}: {error}): restore it with git.") from None


def _restore(entry: Path, root: Path) -> None:
    """Make the folder what its `.dvc` file says, from DVC's cache, its remote, or the repository it was imported from."""
    status = _dvc(entry, "status", "--json", entry.name)
    if status.returncode:
        raise PipelineError(f"`dvc status {entry}` failed: {_last(status)}")
    if "changed outs" not in status.stdout:
        return
    if '"not in cache"' not in status.stdout:
        if not _dvc(entry, "checkout", entry.name).returncode:
            return
        if '"modified"' in status.stdout:  # DVC overwrites nothing that it does not have
            raise StageError(
                f"{root} differs from {entry.name}: `dvc commit {entry.name}` keeps it as it is now, `dvc checkout "
                f"--force {entry.name}` goes back."
            )
    if (pulled := _dvc(entry, "pull", entry.name)).returncode:
        raise PipelineError(f"`dvc pull {entry}` failed: {_last(pulled)}")


def _dvc(entry: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=entry.parent,
        env=environment,
        check=False,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )  # it must not ask


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """What DVC says went wrong, on one line, without passwords."""
    lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return redact(" ".join(lines or done.stderr.split()[-40:] or ["no message"]))

"""Which runs are open, and what of them is not yet true in the stores: small files, read without MLflow or Prefect.

A process that opens an MLflow run leaves a note in `.iqaflow/open/` until the run's end is recorded. A note whose process is
gone is a run that nobody will end. Scheduled retrainings keep theirs in their worktrees, below the checkout's own state.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iqaflow.core import files, process
from iqaflow.core.workspace import Workspace

FOLDER = "open"


@dataclass(frozen=True)
class Note:
    """An open run: its id, the process that writes it (`process.identity`), and the note's file."""

    run: str
    process: str
    file: Path


def note(workspace: Workspace, run: str, instead_of: Path | None = None) -> Path | None:
    """Note that this process opens `run`; the file to `forget` when it has ended. None where nothing can be written: the work
    goes on, and the next run finds this one by itself.
    """
    file = instead_of or workspace.state / FOLDER / f"{uuid.uuid4().hex}.json"
    try:
        files.write_json(
            file, {"run": run, "host": socket.gethostname(), "process": process.identity(), "store": _store(workspace)}
        )
    except OSError:
        return None
    return file


def forget(file: Path | None) -> None:
    if file is not None:
        file.unlink(missing_ok=True)


def notes(workspace: Workspace) -> Iterator[Note]:
    """The open runs of this host in the store in force."""
    for file in sorted((workspace.state / FOLDER).glob("*.json")):
        try:
            entry = json.loads(file.read_text(encoding="utf-8"))
            if entry["host"] == socket.gethostname() and entry["store"] == _store(workspace):
                yield Note(entry["run"], entry["process"], file)
        except (OSError, ValueError, KeyError, TypeError):  # forgotten meanwhile, or torn by a full disk
            continue


def dead(workspace: Workspace) -> list[Note]:
    """Open runs whose process is gone."""
    return [entry for entry in notes(workspace) if not process.alive(entry.process)]


def places(workspace: Workspace) -> list[Workspace]:
    """The checkout and the worktrees of its scheduled retrainings."""
    return [workspace, *map(Workspace, sorted((workspace.state / "worktrees").glob("*/")))]


def due(workspace: Workspace) -> bool:
    """Whether MLflow has to be told something: a dead run, or records that wait in the spool. Costs two listings."""
    return bool(dead(workspace)) or any(file.stem != "rejected" for file in (workspace.state / "spool").glob("*.jsonl"))


def prefect_address(workspace: Workspace) -> str | None:
    """Address of the Prefect server that `up` runs for this checkout, if it lives."""
    try:
        entry = json.loads((workspace.state / "services.json").read_text(encoding="utf-8"))["prefect"]
        return str(entry["address"]) if process.alive(entry["who"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prefect_due(workspace: Workspace) -> bool:
    """Whether a flow run of this host says RUNNING while its process is gone and our server could be told."""
    home = Path(os.environ.get("PREFECT_HOME") or workspace.state / "prefect")
    if prefect_address(workspace) is None or not (home / "prefect.db").is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{(home / 'prefect.db').as_uri()}?mode=ro", uri=True, timeout=2)) as database:
            rows = database.execute("SELECT tags FROM flow_run WHERE state_type IN ('RUNNING', 'CANCELLING')").fetchall()
    except sqlite3.Error:  # busy, or just being made: the next look will do
        return False
    return any(_is_dead(json.loads(tags or "[]")) for (tags,) in rows)


def _is_dead(tags: list[Any]) -> bool:
    prefix = f"process:{socket.gethostname()}:"  # as orchestrate/zombies.py writes it
    owners = [tag.removeprefix(prefix) for tag in tags if str(tag).startswith(prefix)]
    return bool(owners) and not any(process.alive(who) for who in owners)


def _store(workspace: Workspace) -> str:
    """Which store is in force, without saying it: an address may hold a password."""
    given = os.environ.get("IQAFLOW_TRACKING_URI") or os.environ.get("MLFLOW_TRACKING_URI")
    own = f"sqlite:///{workspace.mlruns / 'mlflow.db'}"  # a checkout that moves keeps its runs
    return "own" if given in (None, "", own) else hashlib.sha256(given.encode()).hexdigest()[:16]

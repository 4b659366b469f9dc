"""Where a run comes from: commit, uncommitted changes, lock files, data, host. Enough to make the run again.

tags(config, workspace) -> {"git.commit": ..., "dvc.lock": ..., ...}
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import socket
import sys
from pathlib import Path

from iqaflow.core import hashes, manifest, process
from iqaflow.core.clients import git
from iqaflow.core.config import Config
from iqaflow.core.security.redaction import redact
from iqaflow.core.version import VERSION
from iqaflow.core.workspace import Workspace

HOST, PROCESS = "host", "process"
MAX_DIFF = 5_000_000  # characters


def owner() -> dict[str, str]:
    """Tags that say which process writes a run, so that it can be told when that process is gone."""
    return {HOST: socket.gethostname(), PROCESS: process.identity(), "pid": str(os.getpid())}


def tags(config: Config, workspace: Workspace) -> dict[str, str]:
    """Tags of a run; what cannot be known (no git, no lock file yet) is left out."""
    changes, commit = git.ask(workspace.root, "status", "--porcelain"), git.head(workspace.root)
    known = {
        "mlflow.source.name": "iqaflow",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        "mlflow.source.git.commit": commit,
        "git.commit": commit,
        "git.branch": git.ask(workspace.root, "rev-parse", "--abbrev-ref", "HEAD"),
        "git.dirty": None if changes is None else str(bool(changes)).lower(),
        "requirements.lock": _hash(workspace.root / "requirements.lock"),
        "dvc.lock": _hash(workspace.root / "dvc.lock"),
        "prefect.flow_run": _flow_run(),
        "seed": str(config.seed),
        "iqaflow": VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **owner(),
    }
    return {name: value for name, value in known.items() if value}


def changes(workspace: Workspace) -> str | None:
    """Uncommitted changes as a diff without secrets, with the names of new files; None if there are none, or no git."""
    status = git.ask(workspace.root, "status", "--porcelain")
    if not status:
        return None
    diff = git.ask(workspace.root, "diff", "HEAD") or git.ask(workspace.root, "diff", "--cached") or ""
    text = "".join(f"# {line}\n" for line in status.splitlines()) + diff
    if len(text) > MAX_DIFF:
        text = text[:MAX_DIFF].rpartition("\n")[0]  # a line that is cut could hide half a secret from the redactor
    return redact(text) + "\n"


def data_digest(workspace: Workspace) -> str | None:
    """The hash of data/annotated: DVC's if dvc.lock speaks of these very bytes, else SHA-256 of the manifest."""
    path = workspace.annotated / manifest.MANIFEST
    if not path.is_file():
        return None
    md5 = _locked(workspace)
    if md5 and _listed(workspace, md5) == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest():
        return md5
    return hashes.sha256(path)


def _locked(workspace: Workspace) -> str | None:
    """DVC's hash of data/annotated in dvc.lock."""
    from ruamel.yaml import YAML, YAMLError

    try:
        lock = YAML(typ="safe", pure=True).load((workspace.root / "dvc.lock").read_text(encoding="utf-8"))
        outs = lock["stages"]["annotate"]["outs"]
    except (OSError, YAMLError, KeyError, TypeError):
        return None
    return next((out.get("md5") for out in outs if out["path"] == workspace.relative(workspace.annotated)), None)


def _listed(workspace: Workspace, md5: str) -> str | None:
    """MD5 of the manifest inside the directory that DVC knows as `md5`: the lock may be older than the data."""
    listing = _cache(workspace) / "files" / "md5" / md5[:2] / md5[2:]
    try:
        entries = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return next((entry["md5"] for entry in entries if entry["relpath"] == manifest.MANIFEST), None)


def _cache(workspace: Workspace) -> Path:
    """DVC's cache folder: `cache.dir`, relative to .dvc, or .dvc/cache."""
    for name in ("config.local", "config"):
        path = workspace.root / ".dvc" / name
        if path.is_file():
            folder = re.search(r"^\[cache\]\s*\n(?:[^\[]*\n)?\s*dir\s*=\s*(.+?)\s*$", path.read_text(), re.MULTILINE)
            if folder:
                return path.parent / folder[1]
    return workspace.root / ".dvc" / "cache"


def _hash(path: Path) -> str | None:
    return hashes.sha256(path) if path.is_file() else None


def _flow_run() -> str | None:
    """The Prefect flow run around us: of a parent process by its variable, of this one by Prefect itself."""
    given = os.environ.get("IQAFLOW_FLOW_RUN") or os.environ.get("PREFECT__FLOW_RUN_ID")
    if given or "prefect" not in sys.modules:
        return given
    from prefect.runtime import flow_run

    run: str | None = flow_run.id
    return run


def _user() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user entry
        return None

"""A retraining away from people's files: a git worktree at the last commit, with the DVC cache and MLflow store shared.

What it made, its dvc.lock and metrics, becomes a commit on a branch of its own: `retrain/<date>`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from iqaflow.core.clients import git
from iqaflow.core.config import load
from iqaflow.core.workspace import Workspace
from iqaflow.orchestrate import dvc, installed

KEEP = 2  # worktrees of failed retrainings kept for whoever wants to look


@contextmanager
def fresh(home: Workspace, say: Callable[[str], None]) -> Iterator[tuple[Workspace, tuple[str, ...]]]:
    """A worktree for the block, and the overrides it needs. Committed and removed afterwards; kept after a failure."""
    dvc.check(home)
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{os.getpid()}"
    folder, branch = home.state / "worktrees" / name, f"retrain/{name}"
    _forget_old(home)
    git.run(home.root, "worktree", "add", "--quiet", "-b", branch, str(folder), "HEAD")
    place = Workspace(folder)
    cache = home.root / ".dvc" / "cache"
    (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{home.mlruns / 'mlflow.db'}")
    say(f"Retraining in {folder}, branch {branch}.")
    yield place, anchored(home, folder)
    committed = _commit(place)
    git.run(home.root, "worktree", "remove", "--force", str(folder))
    if committed:
        say(f"Committed dvc.lock to {branch}: `git diff HEAD {branch}` shows what changed.")
    else:
        git.run(home.root, "branch", "--quiet", "-D", branch)
        say("Nothing changed; no branch is left.")


def _commit(place: Workspace) -> bool:
    """Commit what the retraining changed in versioned files; False if nothing."""
    files = [name for name in ("dvc.lock", "reports/metrics.json", installed.NAME) if (place.root / name).is_file()]
    git.run(place.root, "add", "--force", *files)
    if not git.run(place.root, "diff", "--cached", "--name-only"):
        return False
    git.commit(place.root, "Scheduled retraining")
    return True


def anchored(home: Workspace, folder: Path) -> tuple[str, ...]:
    """Overrides for relative paths of the parameters that the checkout has and its worktree has not: what git does not keep
    is read, and downloads are kept, where they are.
    """
    config = load(home.params)
    source, annotate = config.source, config.annotate
    named = {
        "source.path": source.path,
        "source.masks": source.masks,
        "source.catalogue": source.catalogue,
        "annotate.sam.model": annotate.sam.model,
        "annotate.detector.model": annotate.detector.model,
        "annotate.teacher.model": annotate.teacher.model,
        "train.base": config.train.base,
    }

    def absolute(path: str | None) -> str | None:
        if path is None or Path(path).expanduser().is_absolute() or (folder / path).exists() or not (home.root / path).exists():
            return path
        return str((home.root / path).resolve())

    moved = [f"{key}={json.dumps(absolute(path))}" for key, path in named.items() if absolute(path) != path]
    if source.kind == "download" and source.path is None:
        moved.append(f"source.path={home.root / 'data' / 'downloads'}")
    labelled = [
        entry.model_dump() | {"path": absolute(entry.path), "images": absolute(entry.images)} for entry in source.labelled
    ]
    if labelled != [entry.model_dump() for entry in source.labelled]:
        moved.append(f"source.labelled={json.dumps(labelled)}")
    return tuple(moved)


def _forget_old(home: Workspace) -> None:
    folders = sorted((home.state / "worktrees").glob("*"))
    for folder in folders[: max(0, len(folders) - KEEP + 1)]:
        shutil.rmtree(folder, ignore_errors=True)
    git.run(home.root, "worktree", "prune")

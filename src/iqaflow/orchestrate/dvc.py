"""DVC as the pipeline uses it: what is out of date, one stage at a time, and recovery from a killed `dvc`.

A kill -9 can leave DVC's own bookkeeping half-written (an empty `.dvc/tmp/rwlock`, a cut `dvc.lock`), after which every
command of DVC fails; `recover` puts that right first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iqaflow.core import files, process
from iqaflow.core.clients import git
from iqaflow.core.errors import InputError, PipelineError
from iqaflow.core.log import FORM
from iqaflow.core.workspace import Workspace

HINTS = (
    "Generating lock file",
    "Updating lock file",
    "To track the changes",
    "\tgit add",
    "To enable auto staging",
    "\tdvc config",
    "Use `dvc push`",
)  # DVC says these after every stage
DVC = [sys.executable, "-m", "dvc"]


def check(workspace: Workspace) -> None:
    """One sentence when this is not a checkout that DVC and git can work in."""
    root = workspace.root
    workspace.refuse_odd_names()
    for name in ("dvc.yaml", "params.yaml"):
        if not (root / name).is_file():
            raise InputError(
                f"{root / name} is missing: run this inside a clone of the project, or in a folder that "
                f"`iqaflow init` made a workspace."
            )
    if git.root(root) is None:
        raise InputError(
            f"{root} is not a git repository (downloaded as an archive?): clone the project, or run "
            f"`git init && git add . && git commit -m start` there, and run the same command again."
        )
    if not (root / ".dvc" / "config").is_file():
        raise InputError(f"{root} has no .dvc/config: restore it with `git checkout .dvc`, or run `dvc init`.")


def recover(workspace: Workspace, say: Callable[[str], None]) -> None:
    """Remove what a killed `dvc` left half-written; call it only while holding the run lease."""
    rwlock = workspace.root / ".dvc" / "tmp" / "rwlock"
    if rwlock.is_file() and not _is_json(rwlock):
        rwlock.unlink()
        say("removed .dvc/tmp/rwlock, which a killed dvc left unreadable")
    elif rwlock.is_file() and _released(rwlock):
        rwlock.unlink()
    lock, good = workspace.root / "dvc.lock", _good_lock(workspace)
    if lock.is_file() and _stages(lock) is None:
        if good.is_file() and _stages(good) is not None:
            files.write_bytes(lock, good.read_bytes())
            say("restored dvc.lock, which a killed dvc left unreadable")
        else:
            lock.rename(lock.with_name("dvc.lock.damaged"))
            say("set dvc.lock aside as dvc.lock.damaged: a killed dvc left it unreadable; every stage is checked again")


def _released(rwlock: Path, patience_seconds: float = 3) -> bool:
    """Whether all processes that DVC's lock file names are gone. DVC itself takes one that was killed but not yet reaped by
    its parent for alive; one that is just dying gets a moment.
    """
    import psutil

    pids = {int(pid) for pid in re.findall(r'"pid":\s*(\d+)', rwlock.read_text(encoding="utf-8"))}
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            pids = {pid for pid in pids if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE}
        except psutil.NoSuchProcess as error:
            pids.discard(error.pid)
            continue
        if not pids or time.monotonic() > deadline:
            return not pids
        time.sleep(0.1)


def stale(workspace: Workspace) -> dict[str, list[str | dict[str, Any]]]:
    """Stages that are out of date, each with DVC's reasons; `always_changed` alone is no reason."""
    done = subprocess.run([*DVC, "status", "--json"], cwd=workspace.root, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise PipelineError(f"`dvc status` failed: {_last_error(done.stderr.splitlines())}") from None
    reasons = {stage: [item for item in items if item != "always changed"] for stage, items in answer.items()}
    return {stage: items for stage, items in reasons.items() if items}


def reproduce(workspace: Workspace, stages: tuple[str, ...], line: Callable[[str], None], force: bool = False) -> bool:
    """`dvc repro --single-item` in its own process group. Returns whether the last stage ran (it may have been up to
    date, or restored from the cache); raises PipelineError with DVC's own sentence.
    """
    ran, seen = False, []

    def follow(text: str) -> None:
        nonlocal ran
        ran = ran or text.startswith(f"Running stage '{stages[-1]}'")
        seen.append(text)
        if not text.startswith(HINTS):
            line(text)

    command = [*DVC, "repro", "--single-item", *(["--force"] if force else []), *stages]
    sources = f"{workspace.root / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
    environment = {"PYTHONPATH": sources, FORM: "text"}  # the code that DVC hashes is run; its lines go into our logs
    code = process.stream(command, workspace.root, follow, environment)
    if code:
        raise PipelineError(_last_error(seen) if code > 0 else f"dvc was killed (signal {-code})")
    files.write_bytes(_good_lock(workspace), (workspace.root / "dvc.lock").read_bytes())
    return ran


def lock_key(workspace: Workspace, stage: str | None = None) -> str:
    """Hash of what dvc.lock records: of one stage (its command, inputs, parameters, outputs), or of all."""
    stages = _stages(workspace.root / "dvc.lock") or {}
    value = stages.get(stage, {}) if stage else stages
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _good_lock(workspace: Workspace) -> Path:
    return workspace.state / "dvc.lock.good"


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _stages(lock: Path) -> dict[str, Any] | None:
    """The stages of a dvc.lock; None when it cannot be read."""
    from ruamel.yaml import YAML, YAMLError

    try:
        tree = YAML(typ="safe", pure=True).load(lock.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError):
        return None
    return tree.get("stages") if isinstance(tree, dict) else None


def _last_error(lines: list[str]) -> str:
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", text).strip() for text in lines]
    errors = [text.removeprefix("ERROR: ") for text in plain if text.startswith("ERROR")]
    return errors[-1] if errors else (plain[-1] if plain else "dvc said nothing")

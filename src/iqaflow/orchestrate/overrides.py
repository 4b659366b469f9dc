"""Overrides of one run: params.yaml holds the resolved tree while it runs, and the user's own bytes afterwards.

DVC must see the values, so they have to be in the file. The journal is written before the file is touched; whoever comes
next after a kill -9 puts the original back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from iqaflow.core import config as module
from iqaflow.core import files, hashes
from iqaflow.core.config import Config
from iqaflow.core.config import params_file as params
from iqaflow.core.workspace import Workspace

ORIGINAL, WRITTEN = "params.original.yaml", "params.written.sha256"


@contextmanager
def overridden(workspace: Workspace, config: Config) -> Iterator[None]:
    """Let params.yaml hold `config` inside the block; its bytes are untouched when that changes nothing."""
    if not module.diff(module.load(workspace.params), config):
        yield
        return
    text = params.as_yaml(config).encode()
    files.write_bytes(workspace.state / ORIGINAL, workspace.params.read_bytes())
    files.write_text(workspace.state / WRITTEN, hashlib.sha256(text).hexdigest())  # last: this is the journal
    files.write_bytes(workspace.params, text)
    try:
        yield
    finally:
        restore(workspace)


def pending(workspace: Workspace) -> bool:
    """Whether a run that was killed left its overrides in params.yaml."""
    return (workspace.state / WRITTEN).is_file()


def restore(workspace: Workspace, say: Callable[[str], None] = lambda text: None) -> None:
    """Put the user's params.yaml back if a run left its overrides there; a file edited since is left alone."""
    written = workspace.state / WRITTEN
    if not written.is_file():
        return
    original = workspace.state / ORIGINAL
    current = hashlib.sha256(workspace.params.read_bytes()).hexdigest() if workspace.params.is_file() else ""
    if current in (written.read_text(encoding="utf-8").strip(), ""):
        files.write_bytes(workspace.params, original.read_bytes())
        say("restored params.yaml, which an interrupted run had overridden")
    elif current != hashes.sha256(original):
        say(f"params.yaml was edited after an interrupted run; the version from before that run is {original}")
        written.unlink()
        return
    written.unlink()
    original.unlink(missing_ok=True)

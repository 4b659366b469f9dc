"""The string that opens our servers: `iqaflow:` and a random password, one per workspace, readable by its owner alone.

It travels in the environment of our own processes and in HTTP headers to our own servers, never on a command line.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

from iqaflow.core.errors import StageError
from iqaflow.core.files import explain_full_disk
from iqaflow.core.workspace import Workspace

USER = "iqaflow"


def path(workspace: Workspace) -> Path:
    """Where the string is kept."""
    return workspace.state / "secret"


def of(workspace: Workspace) -> str:
    """`iqaflow:password`, made on first use. Raises StageError if anybody but its owner could have read or written it."""
    place = path(workspace)
    if not place.is_symlink() and not place.exists():
        _make(place)
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _unusable(place, f"cannot be opened ({error.strerror})") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _unusable(place, "is no file")
        if status.st_uid != os.geteuid():
            raise _unusable(place, "belongs to another account")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise _unusable(place, "can be read by other accounts")
        text = os.read(handle, 1024).decode("ascii", "replace").strip()
    finally:
        os.close(handle)
    user, _, password = text.partition(":")
    if user != USER or len(password) < 32:
        raise _unusable(place, "is damaged")
    return text


def _unusable(place: Path, why: str) -> StageError:
    return StageError(
        f"{place}, which opens the Prefect and MLflow servers, {why}: remove it, run `iqaflow down`, and run the "
        f"same command again for a new one."
    )


def _make(place: Path) -> None:
    """Of two processes that make it at once, one wins and both read the winner's; no reader sees a part of it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with explain_full_disk(place):
        handle, name = tempfile.mkstemp(prefix=".secret.", dir=place.parent)  # mode 0600 from its creation on
        try:
            with os.fdopen(handle, "w") as file:
                file.write(f"{USER}:{secrets.token_urlsafe(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(name, place)
        except FileExistsError:
            return
        finally:
            Path(name).unlink()

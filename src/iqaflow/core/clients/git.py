"""git, started as a program in a folder: its answer as text, or one sentence.

    run(folder, "add", "--", "params.yaml")     # raises what `iqaflow` prints
    ask(folder, "rev-parse", "HEAD")            # None where git cannot say

A git hook has GIT_DIR and its like in the environment, and so has everything that the hook starts: git would then work on the
hook's repository, whatever the folder. Here the folder alone says which one is meant.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from iqaflow.core.errors import InputError, PipelineError

KEPT = (  # who commits, how a remote is reached, settings, how far up a repository is looked for; where git lies itself
    "GIT_AUTHOR_",
    "GIT_COMMITTER_",
    "GIT_SSH",
    "GIT_CONFIG_",
    "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_EXEC_PATH",
)
ASK_SECONDS = 30.0
OURS = ("-c", "user.name=iqaflow", "-c", "user.email=iqaflow@localhost", "-c", "commit.gpgsign=false")


def run(folder: Path, *arguments: str, timeout_seconds: float | None = None) -> str:
    """What `git ARGUMENTS` in `folder` prints, without the white space around it; bytes that are no text become U+FFFD.

    Raises InputError where git is not installed, PipelineError where it fails or takes longer than `timeout_seconds`.
    """
    failed = f"`git {' '.join(arguments)}` failed in {folder}"
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except OSError as error:
        if shutil.which("git") is None:
            raise InputError("git is not installed: install it and run the same command again.") from None
        raise PipelineError(f"{failed}: {error.strerror or error}") from None
    except subprocess.TimeoutExpired:
        raise PipelineError(f"{failed}: no answer within {timeout_seconds:.0f} s") from None
    if done.returncode:
        raise PipelineError(f"{failed}: {done.stderr.strip() or done.stdout}")
    return done.stdout.strip()


def ask(folder: Path, *arguments: str) -> str | None:
    """As `run`; None where git is not installed, fails (no repository, no commit yet) or does not answer within 30 s."""
    try:
        return run(folder, *arguments, timeout_seconds=ASK_SECONDS)
    except (InputError, PipelineError):
        return None


def root(folder: Path) -> Path | None:
    """The top of the work tree that `folder` lies in; None outside of any. Raises InputError where git is not installed."""
    try:
        return Path(run(folder, "rev-parse", "--show-toplevel"))
    except PipelineError:
        return None


def head(folder: Path) -> str | None:
    """The commit that is checked out; None outside of a repository, before its first commit, or without git."""
    return ask(folder, "rev-parse", "--verify", "HEAD")


def commit(folder: Path, message: str) -> None:
    """Commit what is staged, in our own name: no settings, keys or hooks of the user's are needed. Raises as `run`."""
    run(folder, *OURS, "commit", "--quiet", "--no-verify", "-m", message)


def environment() -> dict[str, str]:
    """The environment without what binds git to another repository than the folder's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith(KEPT)}

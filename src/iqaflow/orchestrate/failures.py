"""What a failed stage leaves for the pipeline: its sentence, without secrets, and its exit code, which `dvc` would swallow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from iqaflow.core import errors, files
from iqaflow.core.workspace import Workspace


@dataclass(frozen=True)
class Failure:
    sentence: str
    code: int

    @property
    def permanent(self) -> bool:
        """Trying again with the same input would end the same way."""
        return self.code != errors.FAILED


def _path(workspace: Workspace, stage: str) -> Path:
    return workspace.state / "failures" / f"{stage}.json"


def clear(workspace: Workspace, stage: str) -> None:
    _path(workspace, stage).unlink(missing_ok=True)


def write(workspace: Workspace, stage: str, error: BaseException) -> None:
    """Note a failure; on a full disk the pipeline does without."""
    try:
        note = {"sentence": errors.sentence(error), "code": errors.exit_code(error)}
        files.write_json(_path(workspace, stage), note)
    except OSError:
        return


def read(workspace: Workspace, stage: str) -> Failure | None:
    """The note of the stage's last failure, None when it left none (it succeeded, or was killed)."""
    try:
        return Failure(**json.loads(_path(workspace, stage).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None

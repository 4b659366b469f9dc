"""A stage's last words. Those of one that succeeded are kept by what dvc.lock says it made, so that a stage restored from the
cache has its own again; one that failed leaves its sentence, without secrets, and its exit code, which `dvc` would swallow.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from iqaflow.core import errors, files
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.orchestrate import dvc

LARGEST_PICTURE_BYTES = 2_000_000  # a picture travels inside Prefect's database


def of(workspace: Workspace, stage: str, ran: bool) -> StageResult | None:
    """The result that belongs to the stage's present outputs: just made (`ran`), or kept from when they were made."""
    kept = workspace.state / "results" / f"{stage}-{dvc.lock_key(workspace, stage)}.json"
    if ran:
        result = StageResult.read(workspace, stage)
        if result is not None:
            files.write_json(kept, asdict(result))
        return result
    if not kept.is_file():
        return None
    result = StageResult(**json.loads(kept.read_text(encoding="utf-8")))
    if StageResult.read(workspace, stage) != result:
        result.save(workspace)
    return result


def as_data_url(picture: Path) -> str | None:
    """A picture as a `data:` URL, which needs no server to be seen; None if it is absent, large, or no picture."""
    kind = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".svg": "svg+xml", ".webp": "webp"}.get(picture.suffix.lower())
    if kind is None or not picture.is_file() or picture.stat().st_size > LARGEST_PICTURE_BYTES:
        return None
    return f"data:image/{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"


@dataclass(frozen=True)
class Failure:
    sentence: str
    code: int

    @property
    def permanent(self) -> bool:
        """Trying again with the same input would end the same way."""
        return self.code != errors.FAILED


def clear_failure(workspace: Workspace, stage: str) -> None:
    _failure_path(workspace, stage).unlink(missing_ok=True)


def write_failure(workspace: Workspace, stage: str, error: BaseException) -> None:
    """Note a failure; on a full disk the pipeline does without."""
    try:
        note = {"sentence": errors.sentence(error), "code": errors.exit_code(error)}
        files.write_json(_failure_path(workspace, stage), note)
    except OSError:
        return


def read_failure(workspace: Workspace, stage: str) -> Failure | None:
    """The note of the stage's last failure, None when it left none (it succeeded, or was killed)."""
    try:
        return Failure(**json.loads(_failure_path(workspace, stage).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _failure_path(workspace: Workspace, stage: str) -> Path:
    return workspace.state / "failures" / f"{stage}.json"


def pages(workspace: Workspace, result: StageResult) -> Iterator[tuple[str, Path]]:
    """The HTML pages among a result's artifacts: name and file."""
    for name in result.artifacts:
        path = workspace.root / name
        page = path / "index.html" if path.is_dir() else path
        if page.suffix == ".html":
            yield name, page

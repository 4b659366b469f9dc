"""What is said about a run, in order: to MLflow while it answers, else to `.iqaflow/spool/RUN.jsonl`, replayed later.

Telemetry never stops the work: nothing here raises because of the store, and saying something costs an append to a
list. Every record is safe to apply twice, so that a kill in the middle of a replay loses and doubles nothing. A run
that starts while the store is away gets a local id; the real run carries it in the tag `iqaflow.local_id`.

    replay(workspace)       # done at every start of a run, by every verb that opens the store, and by the reaper
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections import deque
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from iqaflow.core import lock, open_runs
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.security.redaction import redact, redact_all
from iqaflow.core.workspace import Workspace
from iqaflow.track import records, store

if TYPE_CHECKING:
    from mlflow import MlflowClient

FLUSH_SECONDS = 2.0
PATIENCE_SECONDS = (2.0, 60.0)  # first and longest wait before the store is tried again
REJECTED = "rejected"  # records that MLflow will never take, with its reason
LIMIT_BYTES = 256 * 2**20  # what a lost store may cost in disk; later records are dropped and counted
log = logging.getLogger(__name__)


class Recorder:
    """The records of one run. Thread-safe. `close` when the run ends."""

    def __init__(self, workspace: Workspace, config: Config, run: str, note: Path | None = None) -> None:
        self.workspace, self.config, self.run, self._note = workspace, config, run, note
        self._waiting: deque[records.Record] = deque()
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._retry_at, self._pause = 0.0, PATIENCE_SECONDS[0]
        self._thread = threading.Thread(target=self._work, daemon=True, name="mlflow-recorder")
        self._thread.start()

    @property
    def files(self) -> Path:
        """Files that must outlive the process until they are in the store."""
        return folder(self.workspace) / f"{self.run}.files"

    def put(self, record: records.Record, now: bool = False) -> None:
        """Say something about the run, without its secrets; `now` waits until it is in the store or in the spool."""
        if record["op"] != "metrics":  # names and numbers, many of them
            shown = {key: value if key == "file" else redact_all(value, key) for key, value in record.items()}
            record = cast("records.Record", shown)  # only strings were changed
        self._waiting.append({"run": self.run, **record})
        if now:
            self.flush()

    def flush(self, last: bool = False) -> None:
        """Bring all that waits to the store, or to the spool; `last` tries the store even after a recent failure."""
        with self._lock:
            due = last or time.monotonic() >= self._retry_at
            if not self._waiting and not (due and path(self.workspace, self.run).exists()):
                return
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                left = self._apply(records.merge(taken)) if due else taken
                if left:
                    spool(self.workspace, left)
            except BaseException:  # Ctrl-C while we wait for the store
                self._waiting.extendleft(reversed(taken))
                raise

    def close(self) -> None:
        self._closed.set()
        self.flush(last=True)
        open_runs.forget(self._note)  # the end is in the store, or in the spool
        self._thread.join(timeout=FLUSH_SECONDS)

    def _apply(self, taken: list[records.Record]) -> list[records.Record]:
        """What could not be applied; the next attempt is put off if there is any."""
        left, reason = taken, "it stopped answering"
        try:
            mlflow = connect(self.workspace, self.config, create=self.run.startswith(records.LOCAL))
            if replay_run(self.workspace, self.run, mlflow):
                left = apply_all(self.workspace, mlflow, taken)
        except Exception as error:  # whatever ails the store, the work goes on
            reason = redact(str(error))
        if left:
            if self._pause == PATIENCE_SECONDS[0]:
                say(f"MLflow does not answer ({reason}); records wait in {folder(self.workspace)} and are sent later.")
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, PATIENCE_SECONDS[1])
        else:
            self._pause = PATIENCE_SECONDS[0]
        return left

    def _work(self) -> None:
        while not self._closed.wait(FLUSH_SECONDS):
            self.flush()


class StoreAwayError(RuntimeError):
    """The store does not take writes now; the message says why."""


def connect(workspace: Workspace, config: Config | None = None, create: bool = True) -> MlflowClient:
    """A client of a store that takes writes at this moment; StoreAwayError if it does not. Without `create` a missing
    database is away too: an empty new one would not know our runs.
    """
    tracking_uri = store.uri(workspace)
    file = store.database(tracking_uri)
    try:
        if create and file is not None and not file.exists():
            store.ensure(workspace, config)
        reason = store.unreachable(tracking_uri)
        if reason:
            raise StoreAwayError(reason)
        return store.client(store.ensure(workspace, config) if create else tracking_uri)
    except StageError as error:
        raise StoreAwayError(str(error)) from error


def replay(workspace: Workspace, config: Config | None = None) -> int:
    """Send what earlier runs left in the spool; how many runs are sent in full. Quiet when the store is away."""
    waiting = {file.stem for file in folder(workspace).glob("*.jsonl")} - {REJECTED}
    if not waiting:
        return 0
    try:
        mlflow = connect(workspace, config)
    except StoreAwayError:
        return 0
    sent: set[str] = set()
    while now := {run for run in waiting - sent if replay_run(workspace, run, mlflow)}:
        sent |= now  # a child can only be sent after its parent
    return len(sent)


def replay_run(workspace: Workspace, run: str, mlflow: MlflowClient) -> bool:
    """Send one run's spool; False if some of it had to stay."""
    file = path(workspace, run)
    if not file.exists():
        return True
    with _alone(workspace):
        if not file.exists():  # another process sent it while we waited
            return True
        waiting = _read(file)
        left = apply_all(workspace, mlflow, records.merge(waiting))
        if left:
            if len(left) < len(waiting):
                _write(file, left)
            return False
        file.unlink(missing_ok=True)
        return True


def apply_all(workspace: Workspace, mlflow: MlflowClient, taken: list[records.Record]) -> list[records.Record]:
    """Apply in order; the rest from the first record the store did not take now. Records it will never take are put
    aside in `rejected.jsonl` with the reason.
    """
    for number, record in enumerate(taken):
        try:
            records.apply(mlflow, record)
        except records.RejectedError as error:
            say(f"MLflow refused a record of run {record['run']}: {error}")
            _append(path(workspace, REJECTED), [{**record, "reason": redact(str(error))}])
        except Exception as error:  # anything else may pass: a lock, a lost server, a full disk
            if not isinstance(error, records.PendingError):
                say(f"MLflow did not take a record ({' '.join(str(error).split())[:200]}); it is kept.")
            return taken[number:]
    return []


def spool(workspace: Workspace, taken: list[records.Record]) -> None:
    """Append records to their runs' spool files, with copies of the files they speak of."""
    try:
        with _alone(workspace):
            for run in dict.fromkeys(record["run"] for record in taken):
                mine = [_with_copy(workspace, record) for record in taken if record["run"] == run]
                if _size(folder(workspace)) > LIMIT_BYTES:
                    return say(f"{folder(workspace)} is full; {len(mine)} records of run {run} are dropped.")
                _append(path(workspace, run), mine)
    except (OSError, lock.BusyError) as error:  # a full disk: the work itself will find out and say so
        say(f"{len(taken)} MLflow records could not be kept ({error}).")


def folder(workspace: Workspace) -> Path:
    return workspace.state / "spool"


def path(workspace: Workspace, run: str) -> Path:
    return folder(workspace) / f"{run}.jsonl"


def say(sentence: str) -> None:
    log.warning("track: %s", sentence)


def _alone(workspace: Workspace) -> AbstractContextManager[None]:
    return lock.hold(workspace.state / "locks" / "spool.lock", "replay of MLflow records", wait_seconds=300)


def _with_copy(workspace: Workspace, record: records.Record) -> records.Record:
    source = Path(record["file"]) if "file" in record else None
    keep = folder(workspace) / f"{record['run']}.files"
    if source is None or keep in source.parents or not source.exists():
        return record
    copy = keep / f"{time.time_ns()}" / source.name
    copy.parent.mkdir(parents=True)
    (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy)
    return {**record, "file": str(copy), "owned": True}


def _append(file: Path, taken: list[records.Record]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:  # a line that a kill cut short is ended first
        out.writelines(["\n"] * _is_cut(file) + [json.dumps(record) + "\n" for record in taken])


def _is_cut(file: Path) -> bool:
    with file.open("rb") as whole:
        if whole.seek(0, os.SEEK_END) == 0:
            return False
        whole.seek(-1, os.SEEK_END)
        return whole.read(1) != b"\n"


def _read(file: Path) -> list[records.Record]:
    """All whole lines; the last may be cut short by a kill."""
    from iqaflow.core.files import json_lines

    with file.open("rb") as lines:
        return [line.value for line in json_lines(lines, damaged="skip")]


def _write(file: Path, left: list[records.Record]) -> None:
    from iqaflow.core.files import write_text

    write_text(file, "".join(json.dumps(record) + "\n" for record in left))


def _size(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())

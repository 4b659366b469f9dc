"""The MLflow store of a checkout: `mlruns/mlflow.db` (SQLite) beside `mlruns/artifacts/`, created once under a lock.

Two processes that create MLflow's database at the same time break each other; so it is made under a lock, beside its
place, and renamed. MLflow stores absolute places of artifacts: ours are noted in a tag, and rewritten when the checkout
was moved or copied (a clone starts an empty store, since mlruns/ is not versioned).
A tracking server is used instead where IQAFLOW_TRACKING_URI or MLFLOW_TRACKING_URI names one.

    uri = ensure(workspace)          # then MlflowClient(uri), or `mlflow ui --backend-store-uri URI`
"""

from __future__ import annotations

import http.client
import logging
import os
import sqlite3
import urllib.error
import urllib.request
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from iqaflow.core import config as configs
from iqaflow.core import environment, files, lock
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.security.redaction import redact
from iqaflow.core.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = "iqaflow.artifacts"  # experiment tag: where we told MLflow to put artifacts
NEW = ".mlflow.db.new."
_spared: set[str] = set()
PLACES = (  # every column that holds an absolute place of an artifact
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("experiment_tags", "value"),
)


def uri(workspace: Workspace) -> str:
    """The tracking URI in force: the user's, else the checkout's own SQLite file."""
    given = os.environ.get("IQAFLOW_TRACKING_URI") or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{workspace.mlruns / 'mlflow.db'}"


def database(tracking_uri: str) -> Path | None:
    """The file behind a SQLite URI; None for servers and other databases."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    return Path(tracking_uri.removeprefix("sqlite:///").partition("?")[0]).absolute()


def ensure(workspace: Workspace, config: Config | None = None) -> str:
    """Create what is missing of the store (database, artifact folder, experiment); the tracking URI.

    Safe for many processes at once and after a kill at any point. Raises StageError when the store is out of reach.
    """
    tracking_uri, name = uri(workspace), experiment_name(workspace, config)
    file = database(tracking_uri)
    try:
        if file is None:
            _ensure_experiment(tracking_uri, name, None)
            return tracking_uri
        artifacts = (file.parent / "artifacts").as_uri()
        if not _is_ready(file, name, artifacts):
            with lock.hold(file.with_name(".mlflow.lock"), "set-up of the MLflow store", wait_seconds=120):
                (file.parent / "artifacts").mkdir(exist_ok=True)
                if not file.exists():
                    _create(file, name, artifacts)
                _relocate(file, artifacts)
                _ensure_experiment(tracking_uri, name, artifacts)
    except (OSError, sqlite3.Error) as error:
        raise StageError(_useless(tracking_uri, error)) from error
    return tracking_uri


def experiment_name(workspace: Workspace, config: Config | None) -> str:
    if config is None:
        config = configs.load(workspace.params) if workspace.params.is_file() else Config()
    return config.track.experiment


def client(tracking_uri: str) -> MlflowClient:
    """A client for runs and registry that gives up soon: work must not wait minutes for a lost server."""
    ours = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    file = database(tracking_uri)
    if file is not None:  # a kept connection would go on writing into a file that was moved away
        ours["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"
        _spare_the_disk(file)
    for key, value in {**environment.QUIET, **environment.SAFE, **ours}.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    for noisy in ("mlflow.store.db.utils", "mlflow.utils.environment", "mlflow.tracking", "mlflow.pyfunc", "alembic"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # failures are told once, by us, without tracebacks
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def experiment_id(tracking_uri: str, name: str) -> str:
    """The experiment's id; StageError if `ensure` has not made it."""
    experiment = client(tracking_uri).get_experiment_by_name(name)
    if experiment is None:
        raise StageError(f"The MLflow experiment {name!r} does not exist in {tracking_uri}: run `iqaflow run` first.")
    return experiment.experiment_id


def unreachable(tracking_uri: str, seconds: float = 2.0) -> str | None:
    """Why the store would not take a write now, in a few words; None if it would. Never waits longer than `seconds`:
    MLflow itself waits 20 s for a locked SQLite file and minutes for a lost server.
    """
    file = database(tracking_uri)
    try:
        if file is not None:
            if not file.is_file():
                return f"{file} is missing"
            with closing(sqlite3.connect(file, timeout=seconds, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        elif tracking_uri.startswith(("http://", "https://")):
            host = tracking_uri.rpartition("@")[2] if "@" in tracking_uri else tracking_uri.partition("://")[2]
            address = f"{tracking_uri.partition('://')[0]}://{host.rstrip('/')}/health"
            urllib.request.urlopen(address, timeout=seconds).close()  # noqa: S310 (http or https, see above)
    except urllib.error.HTTPError as error:
        return None if error.code in (401, 403, 404) else f"it answers {error.code}"  # a server, behind something
    except (OSError, http.client.HTTPException, ValueError, sqlite3.Error) as error:
        return str(error) or type(error).__name__
    return None


def _is_ready(file: Path, name: str, artifacts: str) -> bool:
    """Without importing MLflow: the experiment exists, is not deleted, and its place is the right one."""
    if not file.is_file() or not (file.parent / "artifacts").is_dir():
        return False
    with closing(sqlite3.connect(file, timeout=20)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiment_tags'").fetchone():
            return False
        state = connection.execute("SELECT lifecycle_stage FROM experiments WHERE name = ?", (name,)).fetchone()
        places = connection.execute("SELECT DISTINCT value FROM experiment_tags WHERE key = ?", (ARTIFACTS,)).fetchall()
    return state == ("active",) and places in ([], [(artifacts,)])  # none: somebody else made the experiment


def _create(file: Path, name: str, artifacts: str) -> None:
    """A whole database or none: all of MLflow's migrations run on a file beside, which is then renamed."""
    for leftover in file.parent.glob(f"{NEW}*"):
        leftover.unlink()
    new = file.with_name(f"{NEW}{uuid.uuid4().hex}")  # a new name: MLflow remembers stores by theirs
    _ensure_experiment(f"sqlite:///{new}", name, artifacts)
    with closing(sqlite3.connect(new)) as connection:
        # readers (the UI) and a writer (training) do not block each other; kept in the file itself
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'Default'", (f"{artifacts}/0",))
        connection.commit()
    with new.open("rb") as whole:
        os.fsync(whole.fileno())
    os.replace(new, file)
    files.sync_directory(file.parent)


def _spare_the_disk(file: Path) -> None:
    """Fewer waits for the disk on connections to `file`: a busy one makes MLflow's hundred migrations take a minute.
    In WAL mode a power cut may then cost the last records, never the database; a new file is flushed before it counts.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not _spared:
        event.listen(Engine, "connect", _on_connect)
    _spared.add(os.path.realpath(file))


def _on_connect(connection: object, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        [(_, _, file)] = connection.execute("PRAGMA database_list").fetchall()[:1]
        if os.path.realpath(file) in _spared:
            is_new = Path(file).name.startswith(NEW)
            connection.execute(f"PRAGMA synchronous = {'OFF' if is_new else 'NORMAL'}")
            if is_new:
                connection.execute("PRAGMA journal_mode = MEMORY")


def _ensure_experiment(tracking_uri: str, name: str, artifacts: str | None) -> None:
    from mlflow.exceptions import MlflowException

    mlflow = client(tracking_uri)
    try:
        experiment = mlflow.get_experiment_by_name(name)
        if experiment is None:
            tags = {ARTIFACTS: artifacts} if artifacts else None
            try:
                mlflow.create_experiment(name, artifact_location=artifacts, tags=tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was first
                    raise
        elif experiment.lifecycle_stage == "deleted":
            mlflow.restore_experiment(experiment.experiment_id)
    except MlflowException as error:
        raise StageError(_useless(tracking_uri, error)) from error


def _useless(tracking_uri: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    return redact(f"The MLflow store {tracking_uri} cannot be used ({reason}): repair it or move it away.")


def _relocate(file: Path, artifacts: str) -> None:
    """Rewrite our own places that start elsewhere: the checkout was moved or copied. Others' places stay."""
    with closing(sqlite3.connect(file, timeout=20)) as connection:
        tagged = connection.execute("SELECT DISTINCT value FROM experiment_tags WHERE key = ?", (ARTIFACTS,)).fetchall()
        for (old,) in tagged:
            if old == artifacts:
                continue
            for table, column in PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "  # noqa: S608 (names are ours)
                    f"WHERE {column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'",
                    {"new": artifacts, "old": old},
                )
        connection.commit()

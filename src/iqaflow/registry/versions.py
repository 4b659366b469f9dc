"""The model registry: every candidate is a version; aliases say which one counts.

| alias | version |
|---|---|
| challenger | the latest candidate |
| champion | what `iqaflow assess` uses; moved by the gate alone |
| rollback | the champion before; `rollback()` swaps them |

A version carries what the gate needs of it later: weights, calibration, per-item results and metrics (`package.py`).

    registry.resolve("champion", workspace)         # the local folder that `iqaflow.infer.load` takes
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from iqaflow.core import config as configs
from iqaflow.core import lock
from iqaflow.core.config import Config
from iqaflow.core.errors import DamagedError, StageError
from iqaflow.core.hashes import sha256
from iqaflow.core.manifest import MANIFEST, read_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.model import integrity, location
from iqaflow.model.location import Location
from iqaflow.registry import package
from iqaflow.track import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, ROLLBACK = "champion", "challenger", "rollback"


@dataclass(frozen=True)
class Version:
    """A registered model version and the local folder that holds `stage1/` and `calibration.json`, verified. `sealed`: its
    tags vouch for every file, per-item results too (older versions have weights and calibration alone vouched for).
    """

    number: int
    run_id: str | None
    folder: Path
    tags: dict[str, str]
    sealed: bool


def register(config: Config, workspace: Workspace, run_id: str, served: package.Served, check: bool = True) -> int:
    """Make the workspace's model a version of `track.model_name`, with the alias challenger; its number.

    The same model is not stored twice: its version is found by fingerprint. With `check` the stored model must answer
    its own example before it becomes a version; else StageError.
    """
    name, tracking_uri = config.track.model_name, store.ensure(workspace, config)
    identity, mlflow = integrity.fingerprint(workspace.models), store.client(tracking_uri)
    number = by_fingerprint(mlflow, name, identity)
    if number is None:
        number = package.store_version(config, workspace, tracking_uri, run_id, identity, served, check)
    mlflow.set_registered_model_alias(name, CHALLENGER, str(number))
    return number


def find(config: Config, workspace: Workspace, alias: str) -> Version | None:
    """The version an alias points at; None if there is none. StageError if the store is out of reach or the version's files
    are gone, DamagedError if they are not what was registered.
    """
    from mlflow.exceptions import MlflowException

    tracking_uri = store.ensure(workspace, config)
    mlflow, name = store.client(tracking_uri), config.track.model_name
    get = mlflow.get_model_version if alias.isdigit() else mlflow.get_model_version_by_alias
    try:
        version = get(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise StageError(f"The model registry {tracking_uri} does not answer ({error}): try again later.") from error
    folder = _local(mlflow, tracking_uri, workspace, version)
    return Version(int(version.version), version.run_id, folder, dict(version.tags), package.SEAL in version.tags)


def promote(config: Config, workspace: Workspace, number: int, instead_of: int | None) -> None:
    """Make a version the champion, if the champion still is `instead_of`; else StageError.

    The old champion becomes `rollback` first and the new one champion second: whenever this is killed, a champion is
    defined, and doing it again is safe.
    """
    mlflow, name = store.client(store.ensure(workspace, config)), config.track.model_name
    with _alone(workspace):
        now = champion_number(mlflow, name)
        if now == number:
            return
        if now != instead_of:
            raise StageError(
                f"The champion changed from version {instead_of} to {now} while the gate compared: run `iqaflow gate` again."
            )
        if now is not None:
            mlflow.set_registered_model_alias(name, ROLLBACK, str(now))
        mlflow.set_registered_model_alias(name, CHAMPION, str(number))


def rollback(config: Config, workspace: Workspace) -> int:
    """Make the former champion champion again, and the present one `rollback`; the champion's number. The present one's files
    may be damaged or gone: that is what going back is for. The former one's must be whole.
    """
    previous = find(config, workspace, ROLLBACK)
    present = champion_number(store.client(store.ensure(workspace, config)), config.track.model_name)
    if previous is None or present is None:
        raise StageError("There is no former champion to go back to.")
    promote(config, workspace, previous.number, present)
    return previous.number


def resolve(uri: str, workspace: Workspace) -> Path:
    """The local folder of a model: a folder as it is, else as `look_up`."""
    given = Path(uri)
    if given.is_dir():
        inside = given / "artifacts"
        return inside if (inside / "stage1").is_dir() else given
    return look_up(uri, workspace).folder


def look_up(uri: str, workspace: Workspace) -> Version:
    """The version `champion` (or another alias, or a number) of the configured model, `models:/NAME@ALIAS` or
    `models:/NAME/NUMBER` stands for. StageError says what there is instead.
    """
    config = configs.load(workspace.params) if workspace.params.is_file() else Config()
    name, alias = config.track.model_name, uri
    if uri.startswith("models:/"):
        name, _, alias = uri.removeprefix("models:/").replace("@", "/").partition("/")
        config = config.model_copy(update={"track": config.track.model_copy(update={"model_name": name})})
    elif "/" in uri or os.sep in uri:
        raise StageError(f"There is no model folder {uri}: give a folder, `champion`, or models:/NAME@ALIAS.")
    version = find(config, workspace, alias)
    if version is None:
        raise StageError(f"There is no model {name}@{alias} in the registry: run `iqaflow run` first, or give a folder.")
    return version


def locate(uri: str | Path) -> Location:
    """Where the model of a folder, or of what `look_up` takes, lies. Its calibration belongs to its weights; these are verified
    when they are loaded (`model.base`). Raises InputError if the folder or the registry has none, DamagedError if it is not what
    its manifest says.
    """
    folder = Path(uri)
    if folder.is_dir():
        return location.in_folder(folder, str(uri))
    version = look_up(str(uri), Workspace.here())
    return location.of_version(version.folder, str(uri), version.number, version.run_id)


def note(config: Config, workspace: Workspace, number: int, tags: dict[str, str]) -> None:
    """Tags on a version."""
    mlflow = store.client(store.ensure(workspace, config))
    for key, value in tags.items():
        mlflow.set_model_version_tag(config.track.model_name, str(number), key, value)


def champion_number(mlflow: MlflowClient, name: str) -> int | None:
    from mlflow.exceptions import MlflowException

    try:
        return int(mlflow.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def by_fingerprint(mlflow: MlflowClient, name: str, identity: str) -> int | None:
    """The newest version of these very bytes."""
    same = mlflow.search_model_versions(f"name = '{name}' and tags.{package.FINGERPRINT} = '{identity}'")
    return max((int(version.version) for version in same), default=None)


def _local(mlflow: MlflowClient, tracking_uri: str, workspace: Workspace, version: ModelVersion) -> Path:
    """The version's `artifacts` folder, verified: in place when the store is local, else downloaded once."""
    place = mlflow.get_model_version_download_uri(version.name, version.version)
    if place.startswith("models:/"):
        place = mlflow.get_logged_model(place.removeprefix("models:/")).artifact_location
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        model = Path(unquote(parts.path))
        if not (model / "artifacts" / integrity.STAGE1).is_dir():
            raise StageError(
                f"The files of {version.name} version {version.version} are gone from {model}: restore them, or "
                "go back to the champion before with `iqaflow rollback`."
            )
        verify(model, version)
    else:  # one server's version 3 is not another's
        key = hashlib.sha256("\n".join([tracking_uri, place, version.tags.get(package.SEAL, "")]).encode()).hexdigest()[:16]
        model = workspace.state / "models" / f"{version.name}-{version.version}-{key}"
        try:
            verify(model, version)
        except DamagedError:  # not there yet, or altered since
            _download(tracking_uri, place, version, model)
    return model / "artifacts"


def verify(model: Path, version: ModelVersion) -> None:
    """Raises DamagedError unless the files are those that were registered as this version. Its tags hold the hash of the manifest
    of all files, or, in versions of before, the fingerprint of weights and calibration; where both were taken away, the files
    must at least belong together.
    """
    artifacts, name = model / "artifacts", f"{version.name} version {version.version}"
    remedy = f"restore the files of {name} from a backup, or go back to the champion before with `iqaflow rollback`"
    seal, identity = version.tags.get(package.SEAL), version.tags.get(package.FINGERPRINT)
    try:
        if seal:
            right = sha256(model / MANIFEST) == seal
            read_manifest(model, verify=True, remedy=remedy)
        elif identity:
            right = integrity.identity(artifacts) == identity
        else:
            right = True
            integrity.verify_calibration(artifacts)
    except OSError:
        right = False
    if not right:
        raise DamagedError(f"{model} is not what was registered as {name}: {remedy}.")
    integrity.verify_weights(artifacts / integrity.STAGE1)


def _download(tracking_uri: str, place: str, version: ModelVersion, model: Path) -> None:
    """From the very store that was asked, beside, verified, then renamed: a killed or damaged download is not a model."""
    from mlflow.artifacts import download_artifacts

    part = model.with_name(f".{model.name}.part")
    for old in (part, model):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        got = Path(download_artifacts(place, dst_path=str(part), tracking_uri=tracking_uri, registry_uri=tracking_uri))
        verify(got, version)
        os.replace(got, model)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """One promotion at a time among all who share the store."""
    file = store.database(store.uri(workspace))
    folder = file.parent if file else workspace.state
    with lock.hold(folder / ".registry.lock", "promotion", wait_seconds=60):
        yield

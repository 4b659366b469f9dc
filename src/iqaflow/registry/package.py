"""The model as MLflow keeps it: weights, calibration, results, code, signature, example and card, in one version.

It loads without this checkout: the package's code is inside, its requirements are pinned (`--env-manager local` uses
the environment at hand). Nothing is pickled: MLflow runs `Served.code`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.hashes import sha256
from iqaflow.core.manifest import MANIFEST, write_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.track import provenance, store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

FINGERPRINT = "fingerprint"  # tag: the identity of weights and calibration
SEAL = "manifest.sha256"  # tag: the manifest of all files of the version, which no one can alter with the files
RUNTIME = (
    "mlflow",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "opencv-python-headless",
    "imagehash",
    "pycocotools",
    "pydantic",
    "fastapi",
    "uvicorn",
    "python-multipart",
    "ruamel.yaml",
)


@dataclass(frozen=True)
class Served:
    """How a version answers when MLflow serves it: the file that MLflow executes, the signature, a table that it must be able to
    answer.
    """

    code: Path
    signature: ModelSignature
    example: pd.DataFrame


def store_version(
    config: Config, workspace: Workspace, tracking_uri: str, run_id: str, identity: str, served: Served, check: bool
) -> int:
    """Log the model to the run and make a version of it; its number. With `check` it must first answer its example."""
    from mlflow.exceptions import MlflowException

    mlflow, name, code = store.client(tracking_uri), config.track.model_name, Path(__file__).parents[1]
    kept = {
        "stage1": workspace.stage1,
        "calibration": workspace.calibration,
        "manifest": workspace.models / MANIFEST,
        "items": workspace.items,
        "metrics": workspace.metrics,
    }
    params = mlflow.get_run(run_id).data.params
    logged = mlflow.create_logged_model(
        store.experiment_id(tracking_uri, config.track.experiment), name=name, source_run_id=run_id, params=params
    )
    try:
        mlflow.create_registered_model(name, description="Explainable image quality assessment by iqaflow.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    flavor = _Flavor(served.example if check else None)
    with _fluent(tracking_uri):
        from mlflow.models import Model

        Model.log(
            artifact_path=None,
            flavor=flavor,
            run_id=run_id,
            model_id=logged.model_id,
            name=name,
            code_paths=[str(code)],
            python_model=str(served.code),
            artifacts={key: path.as_uri() for key, path in kept.items() if path.exists()},
            signature=served.signature,
            input_example=served.example,
            pip_requirements=requirements(),
            validate_serving_input=False,
        )
        tags = {**_tags(workspace, identity), SEAL: flavor.seal}
        version = mlflow.create_model_version(
            name, f"models:/{logged.model_id}", run_id, tags, description=_card(workspace), model_id=logged.model_id
        )
    return int(version.version)


class _Flavor:
    """How `Model.log` writes our model. `seal` is then the SHA-256 of its manifest."""

    seal = ""

    def __init__(self, must_answer: pd.DataFrame | None) -> None:
        self.must_answer = must_answer

    def save_model(self, path: str, **given: Any) -> None:
        import mlflow.pyfunc

        given.pop("validate_serving_input")  # MLflow only warns of a model that cannot answer; we refuse it
        mlflow.pyfunc.save_model(path, **given)
        folder = Path(path)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
        write_manifest(folder, files, {"schema": "iqaflow.package/1"})
        self.seal = sha256(folder / MANIFEST)
        if self.must_answer is not None:
            _must_answer(path, self.must_answer)


def _must_answer(path: str, example: pd.DataFrame) -> None:
    import mlflow.pyfunc

    try:
        [answer] = [json.loads(text) for text in mlflow.pyfunc.load_model(path).predict(example)]
        reason = answer.get("error") or (None if "score" in answer else "there is no score in its answer")
    except Exception as error:  # whatever it is, this model serves nobody
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if reason:
        raise StageError(f"The model cannot answer its own example ({reason}), so it is not registered.")


def requirements() -> list[str]:
    """What answering needs, as pinned here. Given, so that MLflow does not guess (it would load the model to do so)."""
    from importlib.metadata import PackageNotFoundError, version

    pins = []
    for package in RUNTIME:
        try:
            pins.append(f"{package}=={version(package).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return pins


def _tags(workspace: Workspace, identity: str) -> dict[str, str]:
    tags = {FINGERPRINT: identity}
    if workspace.metrics.is_file():
        measured = json.loads(workspace.metrics.read_text(encoding="utf-8"))
        tags["test_sha256"] = str(measured.get("items", {}).get("test_sha256", ""))
    digest = provenance.data_digest(workspace)
    return {**tags, "data.digest": digest} if digest else tags


def _card(workspace: Workspace) -> str:
    card = workspace.stage1 / "README.md"
    return card.read_text(encoding="utf-8")[:20_000] if card.is_file() else ""


@contextmanager
def _fluent(tracking_uri: str) -> Iterator[None]:
    """MLflow's global store set to ours for a while: logging a model knows no other way."""
    import mlflow

    paths, variable = list(sys.path), os.environ.get("MLFLOW_TRACKING_URI")
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None unsets it, which its hint forgets
        sys.path[:] = paths
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if variable is not None:
            os.environ["MLFLOW_TRACKING_URI"] = variable

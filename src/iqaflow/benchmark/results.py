"""What a benchmark leaves for the gate: `reports/metrics.json` and `reports/items.parquet`, bound to each other and to the
model that answered by `reports/manifest.json`. Nothing else is believed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NotRequired, TypedDict

from iqaflow.benchmark import items
from iqaflow.benchmark.metrics import Table
from iqaflow.core.errors import StageError
from iqaflow.core.files import write_bytes, write_json
from iqaflow.core.manifest import read_manifest, write_manifest
from iqaflow.core.workspace import Workspace
from iqaflow.model import integrity

if TYPE_CHECKING:
    import pandas as pd

REMEDY = "run `iqaflow benchmark` again"


class Measured(TypedDict):
    """What was measured on: the data set and test set by SHA-256, how many images, photographs and items of each family.
    `left_out` counts items beyond the model's vocabulary, where there are any.
    """

    dataset_sha256: str
    test_sha256: str
    images: int
    photographs: int
    counts: dict[str, int]
    score_sources: list[str]
    bootstrap: int
    left_out: NotRequired[int]


class Results(TypedDict):
    """`reports/metrics.json`: the table of the model and of each baseline."""

    model: Table
    baselines: dict[str, Table]
    items: Measured


def write(workspace: Workspace, results: Results, frame: pd.DataFrame) -> None:
    """Write the metrics and the items frame; the manifest comes last."""
    write_json(workspace.metrics, results)
    write_bytes(workspace.items, items.file_bytes(frame))
    write_manifest(
        workspace.reports, [workspace.metrics, workspace.items], {"schema": "iqaflow.measured/1", "model": model_of(workspace)}
    )


def model_of(workspace: Workspace) -> str | None:
    """The identity of the workspace's model; None where there is none that is calibrated."""
    return integrity.identity(workspace.models) if workspace.calibration.is_file() else None


def read(workspace: Workspace, model: str | None) -> tuple[Results, pd.DataFrame]:
    """Metrics and items of the model with this fingerprint. Raises StageError where they are absent or another model's,
    DamagedError where a byte of them was altered.
    """
    for path in (workspace.metrics, workspace.items):
        if not path.is_file():
            raise StageError(f"{workspace.relative(path)} is missing: run `iqaflow benchmark` before the gate.")
    manifest = read_manifest(workspace.reports, verify=True, remedy=REMEDY)
    if manifest.get("model") != model:
        raise StageError(
            f"{workspace.relative(workspace.items)} was measured on another model than the one in "
            f"{workspace.relative(workspace.models)}: {REMEDY}."
        )
    return json.loads(workspace.metrics.read_text(encoding="utf-8")), items.read(workspace.items)

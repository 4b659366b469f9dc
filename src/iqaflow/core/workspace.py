"""Where everything lies in a checkout, and what a stage hands back. One place for every path."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from iqaflow.core.errors import InputError, StageError

STAGES = ("annotate", "validate", "train", "calibrate", "benchmark", "report")


def shipped() -> Path:
    """What comes with the package beside its code (flows, the small base, dvc.yaml): the clone, or its part in the wheel."""
    installed = Path(__file__).parents[2] / "iqaflow_workspace"
    return installed if installed.is_dir() else Path(__file__).parents[3]


@dataclass(frozen=True)
class Workspace:
    """A checkout, or a folder that `iqaflow init` made one: `root` holds params.yaml and dvc.yaml."""

    root: Path

    @classmethod
    def here(cls) -> Workspace:
        """The checkout that holds the current directory, or `IQAFLOW_ROOT`; else the current directory."""
        start = Path(os.environ.get("IQAFLOW_ROOT", ".")).resolve()
        for folder in (start, *start.parents):
            if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file():
                return cls(folder)
        return cls(start)

    def refuse_odd_names(self) -> None:
        """InputError where the folder's name holds what a database address cannot: `?`, control characters, no UTF-8."""
        name = str(self.root)
        odd = "?" if "?" in name else "a control character" if not name.isprintable() else ""
        if odd:
            raise InputError(f"The folder {ascii(name)[1:-1]} has {odd} in its name, which MLflow's database cannot: rename it.")

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def annotated(self) -> Path:
        return self.root / "data" / "annotated"

    @property
    def validation(self) -> Path:
        return self.root / "data" / "validation.json"

    @property
    def models(self) -> Path:
        """The model of this checkout: `stage1/`, its calibration, and the manifest that binds them."""
        return self.root / "models"

    @property
    def stage1(self) -> Path:
        return self.models / "stage1"

    @property
    def calibration(self) -> Path:
        return self.models / "calibration.json"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def metrics(self) -> Path:
        """Benchmark values only, the same bytes for the same inputs: what DVC tracks."""
        return self.reports / "metrics.json"

    @property
    def items(self) -> Path:
        """Per-item benchmark results (Parquet): what the gate compares pairwise."""
        return self.reports / "items.parquet"

    @property
    def groundings(self) -> Path:
        """Some of the model's grounded answers with image and truth (Parquet): what the report draws."""
        return self.reports / "groundings.parquet"

    @property
    def benchmark(self) -> Path:
        """`metrics` plus champion, commit and date: what a person or a dashboard reads."""
        return self.reports / "benchmark.json"

    @property
    def report(self) -> Path:
        return self.reports / "report.html"

    @property
    def mlruns(self) -> Path:
        return self.root / "mlruns"

    @property
    def state(self) -> Path:
        """Locks, pid files, server databases, unfinished work: never versioned."""
        return self.root / ".iqaflow"

    def scratch(self, stage: str) -> Path:
        """Unfinished work of a stage that a killed run continues from."""
        return self.state / "scratch" / stage

    def needs_model(self) -> None:
        """Raises StageError where there is no model of this checkout yet; whether it is whole is for its manifest to say."""
        if not any(self.stage1.glob("*")):
            raise StageError(
                f"{self.relative(self.stage1)} holds no model: run `iqaflow train` first, or `iqaflow run`, which runs all "
                "that is missing."
            )

    def relative(self, path: Path) -> str:
        return os.path.relpath(path, self.root)


@dataclass
class StageResult:
    """What a stage tells its caller: numbers for MLflow, a markdown report and pictures for Prefect."""

    stage: str
    metrics: dict[str, float] = field(default_factory=dict)
    markdown: str = ""
    images: list[str] = field(default_factory=list)
    """Pictures worth looking at, relative to the workspace."""
    artifacts: list[str] = field(default_factory=list)
    """Files worth keeping with the run, relative to the workspace."""
    details: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def path(workspace: Workspace, stage: str) -> Path:
        return workspace.reports / "stages" / f"{stage}.json"

    def save(self, workspace: Workspace) -> None:
        from iqaflow.core.files import write_json
        from iqaflow.core.security.redaction import redact_all

        write_json(self.path(workspace, self.stage), redact_all(asdict(self)))

    @classmethod
    def read(cls, workspace: Workspace, stage: str) -> StageResult | None:
        """The last result of a stage in this workspace, or None before its first run."""
        path = cls.path(workspace, stage)
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

"""Stage report: what calibration and benchmark measured, drawn: one HTML page, the series behind its charts, pictures.

    iqaflow report

Reads `reports/metrics.json`, `reports/items.parquet`, the grounded examples of both stages and `models/calibration.json`; writes
`reports/report.html`, `reports/plots/*.csv` and `reports/figures/*.png`; the same inputs give the same bytes. Asks no model.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from iqaflow.benchmark import compare
from iqaflow.benchmark import results as measured
from iqaflow.calibrate import reliability
from iqaflow.core.config import Config
from iqaflow.core.errors import StageError
from iqaflow.core.files import write_bytes, write_text
from iqaflow.core.workspace import StageResult, Workspace
from iqaflow.data.tables import read_rows
from iqaflow.draw import sheets
from iqaflow.grounding import examples
from iqaflow.grounding.record import Calibration
from iqaflow.report import page, plots
from iqaflow.report.material import Material


def run(config: Config, workspace: Workspace) -> StageResult:
    """Draw the report of this workspace's model. Raises StageError where a stage before has left nothing to draw, DamagedError
    where what it left was altered.
    """
    workspace.needs_model()
    for path in (workspace.groundings, workspace.calibration, *_of_calibration(workspace)):
        if not path.is_file():
            raise StageError(f"{workspace.relative(path)} is missing: run `iqaflow run`, which makes it.")
    results, frame = measured.read(workspace, measured.model_of(workspace))
    comparisons = compare.compare(results, frame, config)
    wanted = set(frame["image_id"])
    images = {
        row["image_id"]: row
        for row in read_rows(workspace.annotated, "images", "test", origin="synthetic")
        if row["image_id"] in wanted
    }
    series = plots.write(frame, workspace.reports / "plots")
    figures = _figures(workspace)
    grounded = examples.read(workspace.groundings)
    write_text(workspace.report, page.page(Material(results, frame, images, comparisons, config, grounded)))
    drawn = [workspace.report, *series, *figures]
    result = StageResult(
        "report",
        markdown=f"## report\n\n{compare.markdown(comparisons)}",
        images=[workspace.relative(path) for path in figures],
        artifacts=[workspace.relative(path) for path in drawn if path not in figures],
    )
    result.save(workspace)
    return result


def _of_calibration(workspace: Workspace) -> tuple[Path, Path]:
    folder = workspace.reports / "calibrate"
    return folder / "reliability.csv", folder / "groundings.parquet"


def _figures(workspace: Workspace) -> list[Path]:
    """Groundings of the calibration split from best to worst, and its reliability diagrams."""
    table, grounded = _of_calibration(workspace)
    record: Calibration = json.loads(workspace.calibration.read_text(encoding="utf-8"))
    folder = workspace.reports / "figures"
    shutil.rmtree(folder, ignore_errors=True)
    pictures = {
        "overlays.png": sheets.overlays_png(examples.read(grounded)),
        "reliability.png": sheets.reliability_png(reliability.curves(table, record)),
    }
    for name, data in pictures.items():
        write_bytes(folder / name, data)
    return [folder / name for name in pictures]

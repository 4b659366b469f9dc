"""MLflow: the store of a checkout, and runs that survive its loss."""

from __future__ import annotations

from iqaflow.track.run import StageRun, cached_stage, current, parent_run, reconcile, stage_run

__all__ = ["StageRun", "cached_stage", "current", "parent_run", "reconcile", "stage_run"]

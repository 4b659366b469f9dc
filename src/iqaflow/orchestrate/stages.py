"""What surrounds a stage function in its own process: fence, parent watch, MLflow child run, failure note.

iqaflow annotate        # or `dvc repro annotate`, or the Prefect flow: all three end here
"""

from __future__ import annotations

import importlib
import logging
import os
import time

from iqaflow.core import lock, plugins, process
from iqaflow.core.config import Config
from iqaflow.core.log import set_up
from iqaflow.core.manifest import MANIFEST, read_manifest
from iqaflow.core.security import escaping
from iqaflow.core.workspace import STAGES, StageResult, Workspace
from iqaflow.orchestrate import installed, results

MODULES = {stage: f"iqaflow.{stage}.stage" for stage in (*STAGES, "gate")}
log = logging.getLogger(__name__)


def run(stage: str, config: Config, workspace: Workspace) -> StageResult | None:
    """Run one stage in this process, alone in this checkout. Raises what the stage raises, after noting it."""
    escaping.guard()
    set_up()
    process.die_with_runner()
    _stay_offline(config, workspace)
    started = time.monotonic()
    with lock.hold(workspace.state / "locks" / f"{stage}.lock", f"stage {stage}", wait_seconds=5):
        results.clear_failure(workspace, stage)
        try:
            result = _call(stage, config, workspace)
        except BaseException as error:
            results.write_failure(workspace, stage, error)
            raise
    log.info("%s: done in %.1f s", stage, time.monotonic() - started)
    return result


def _call(stage: str, config: Config, workspace: Workspace) -> StageResult | None:
    if stage == "sources":
        from iqaflow import sources

        sources.index(config, workspace)
        installed.write_hashes(workspace)  # for `dvc repro`, which begins with this stage every time
        return None
    if stage != "annotate":
        same_plugins(workspace)
    module = importlib.import_module(MODULES[stage])
    if stage == "gate":  # it writes to the parent run and the registry itself
        verdict: StageResult = module.run(config, workspace)
        return verdict
    from iqaflow import track

    with track.stage_run(stage, config, workspace) as child:
        result: StageResult = module.run(config, workspace)
        child.finish(result)
    return result


def same_plugins(workspace: Workspace) -> None:
    """No stage works with other plugins than those the data set was made with: DVC sees them in its manifest alone."""
    if (workspace.annotated / MANIFEST).is_file():
        plugins.check(read_manifest(workspace.annotated).get(plugins.NAME), workspace.relative(workspace.annotated))


def _stay_offline(config: Config, workspace: Workspace) -> None:
    """A local or fresh base needs no hub: do not let a library wait for one."""
    base = config.train.base
    if base == "scratch" or (workspace.root / base).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")

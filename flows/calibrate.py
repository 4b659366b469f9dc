"""The stage calibrate under Prefect; iqaflow.calibrate does the work.

    python -m flows.calibrate
"""

from __future__ import annotations

from prefect import flow

from flows.stage import run_stage


@flow(name="calibrate", flow_run_name="calibrate")
def calibrate(root: str = ".", force: bool = False) -> str:
    """Training-free pixel grounding and confidences, chosen on the calibration split."""
    return run_stage("calibrate", root, force)


if __name__ == "__main__":
    calibrate()

"""The stage validate under Prefect; iqaflow.validate does the work.

    python -m flows.validate
"""

from __future__ import annotations

from prefect import flow

from flows.stage import run_stage


@flow(name="validate", flow_run_name="validate")
def validate(root: str = ".", force: bool = False) -> str:
    """Great Expectations and a pixel pass: a failed expectation stops the run and names the rows."""
    return run_stage("validate", root, force)


if __name__ == "__main__":
    validate()

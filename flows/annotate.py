"""The stage annotate under Prefect; iqaflow.annotate does the work.

    python -m flows.annotate
"""

from __future__ import annotations

from prefect import flow

from flows.stage import run_stage


@flow(name="annotate", flow_run_name="annotate")
def annotate(root: str = ".", force: bool = False) -> str:
    """Photographs -> distorted images with masks, questions and answers."""
    return run_stage("annotate", root, force)


if __name__ == "__main__":
    annotate()

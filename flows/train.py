"""The stage train under Prefect; iqaflow.train does the work.

    python -m flows.train
"""

from __future__ import annotations

from prefect import flow

from flows.stage import run_stage


@flow(name="train", flow_run_name="train")
def train(root: str = ".", force: bool = False) -> str:
    """Fine-tune the vision-language model with DeepSpeed; a killed run continues from its last checkpoint."""
    return run_stage("train", root, force)


if __name__ == "__main__":
    train()

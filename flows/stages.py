"""The stages under Prefect, a flow each; the packages of the same names do the work.

python -m flows.stages train
"""

from __future__ import annotations

import sys

from prefect import flow

from flows.run_stage import run_stage


@flow(name="annotate", flow_run_name="annotate")
def annotate(root: str = ".", force: bool = False) -> str:
    """Photographs -> distorted images with masks, questions and answers."""
    return run_stage("annotate", root, force)


@flow(name="validate", flow_run_name="validate")
def validate(root: str = ".", force: bool = False) -> str:
    """Great Expectations and a pixel pass; a failed check stops the retraining."""
    return run_stage("validate", root, force)


@flow(name="train", flow_run_name="train")
def train(root: str = ".", force: bool = False) -> str:
    """DeepSpeed fine-tuning; a killed one continues from its last checkpoint."""
    return run_stage("train", root, force)


@flow(name="calibrate", flow_run_name="calibrate")
def calibrate(root: str = ".", force: bool = False) -> str:
    """Training-free pixel grounding and confidences, chosen on the calibration split."""
    return run_stage("calibrate", root, force)


@flow(name="benchmark", flow_run_name="benchmark")
def benchmark(root: str = ".", force: bool = False) -> str:
    """The model beside its baselines on the frozen test split."""
    return run_stage("benchmark", root, force)


@flow(name="report", flow_run_name="report")
def report(root: str = ".", force: bool = False) -> str:
    """What was measured as one page with plots and pictures; the gate follows it in flows/retrain.py."""
    return run_stage("report", root, force)


STAGES = (annotate, validate, train, calibrate, benchmark, report)

if __name__ == "__main__":
    {each.name: each for each in STAGES}[sys.argv[1]]()

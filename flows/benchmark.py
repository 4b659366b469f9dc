"""The stage benchmark under Prefect; the gate follows it in flows/retrain.py.

    python -m flows.benchmark
"""

from __future__ import annotations

from prefect import flow

from flows.stage import run_stage


@flow(name="benchmark", flow_run_name="benchmark")
def benchmark(root: str = ".", force: bool = False) -> str:
    """The model beside its baselines on the frozen test split."""
    return run_stage("benchmark", root, force)


if __name__ == "__main__":
    benchmark()

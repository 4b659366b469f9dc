"""Images a second of the annotation, with one and two workers, at small and large views; time by step; bytes per image.

python perf/annotate.py [--photos FOLDER] [--images 200] [--sides 96 512]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from iqaflow import regions, sources
from iqaflow.annotate import shards, stage, synthetic, table_rows, views
from iqaflow.core import config as settings
from iqaflow.core.workspace import Workspace
from iqaflow.data import tables
from iqaflow.iqa import mdsi

STEPS = (  # where the time of a shard goes: the function's module, its name, and what to call it
    (sources, "load", "decode photographs"),
    (views, "cut", "cut views"),
    (regions, "of_view", "find regions"),
    (views.distortions, "apply", "distort"),
    (views.distortions, "apply_in_mask", "distort"),
    (mdsi, "similarity", "score"),
    (synthetic, "_single", "questions and answers"),
    (synthetic, "_compared", "questions and answers"),
    (views, "encode_lossless", "encode pictures"),
    (table_rows, "encode_mask", "encode masks"),
    (tables, "write_table", "write Parquet"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="folder of photographs; default: the packaged ones")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 512])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    source = ["source.kind=folder", f"source.path={chosen.photos}"] if chosen.photos else []
    print("| view | workers | images/s | conversations/s | kB per image | 33,000 images, minutes |\n|---|---|---|---|---|---|")
    for side in chosen.sides:
        for workers in chosen.workers:
            print(_row(chosen, source, side, workers), flush=True)
    for side in chosen.sides:
        print(f"\n{side} px, one worker, milliseconds per image (of one process, timed inside):\n")
        print(_shares(chosen, source, side))
    print(
        f"\nPeak memory of a process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB here, "
        f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10:.0f} MiB in the largest worker."
    )


def _config(chosen: argparse.Namespace, source: list[str], side: int, workers: int) -> settings.Config:
    return settings.load(
        overrides=(
            *source,
            f"annotate.images.train={chosen.images}",
            "annotate.images.calibration=2",
            "annotate.images.test=2",
            f"annotate.sizes_px=[[{side}, {side}]]",
            "annotate.scale=[0.5, 1.0]",
            "annotate.shard_images=25",
            f"resources.engine={'loky' if workers > 1 else 'sequential'}",
            f"resources.workers={workers}",
        )
    )


def _row(chosen: argparse.Namespace, source: list[str], side: int, workers: int) -> str:
    """The whole stage; worker processes are started before, as they are once in a large build."""
    config = _config(chosen, source, side, workers)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        sources.index(config, workspace)
        if workers > 1:
            from joblib import Parallel, delayed

            Parallel(n_jobs=workers)(delayed(_warm)() for _ in range(4 * workers))
        begun = time.perf_counter()
        result = stage.run(config, workspace)
        seconds = time.perf_counter() - begun
        images = sum(result.metrics[f"images_{split}"] for split in tables.SPLITS)
        size = sum(path.stat().st_size for path in workspace.annotated.rglob("*.parquet"))
    rate = images / seconds
    return (
        f"| {side} | {workers} | {rate:.1f} | {result.metrics['conversations'] / seconds:.0f} | "
        f"{size / images / 1e3:.0f} | {33_000 / rate / 60:.1f} |"
    )


def _warm() -> None:
    import cv2  # noqa: F401

    from iqaflow.annotate import synthetic  # noqa: F401
    from iqaflow.distortions import registry

    registry.load()


def _shares(chosen: argparse.Namespace, source: list[str], side: int) -> str:
    """Wrap the steps with clocks, make one shard after another, and sum up; a step inside another counts for itself alone."""
    spent: dict[str, float] = defaultdict(float)
    stack: list[str] = []
    last = [0.0]

    def clocked(function, name):
        def run(*arguments, **options):
            now = time.perf_counter()
            spent[stack[-1] if stack else "rest"] += now - last[0]
            stack.append(name)
            last[0] = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                now = time.perf_counter()
                spent[stack.pop()] += now - last[0]
                last[0] = time.perf_counter()

        return run

    originals = [(module, name, getattr(module, name)) for module, name, _ in STEPS]
    for module, name, label in STEPS:
        setattr(module, name, clocked(getattr(module, name), label))
    try:
        config = _config(chosen, source, side, 1)
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace(Path(folder))
            sources.index(config, workspace)
            spent.clear()
            last[0] = time.perf_counter()
            plan = shards.plan(config, {})
            for shard in plan:
                shards.make(workspace.root / "work", shard, config, workspace)
            spent["rest"] += time.perf_counter() - last[0]
    finally:
        for module, name, function in originals:
            setattr(module, name, function)
    images = chosen.images + 4
    total = sum(spent.values())
    rows = [
        f"| {label} | {seconds * 1e3 / images:.1f} | {seconds / total:.0%} |"
        for label, seconds in sorted(spent.items(), key=lambda entry: -entry[1])
    ]
    return "| step | ms | share |\n|---|---|---|\n" + "\n".join(rows) + f"\n| all | {total * 1e3 / images:.1f} | |"


if __name__ == "__main__":
    main()

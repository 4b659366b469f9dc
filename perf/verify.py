"""What it costs to verify a model before it is loaded: every file hashed, and a large one whose hash is remembered.

python perf/verify.py [--model models/base-tiny] [--gib 1]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from iqaflow.core import hashes
from iqaflow.core.manifest import write_manifest
from iqaflow.model.integrity import verify_weights

ROOT = Path(__file__).parents[1]


def milliseconds(work: Callable[[], object], repeats: int = 9) -> float:
    """Median over repeats."""
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path, default=ROOT / "models" / "base-tiny")
    options.add_argument("--gib", type=float, default=1.0, help="size of the large model, in two files")
    given = options.parse_args()
    print("| what | milliseconds |\n|---|---|")
    print(f"| {given.model.name}, every file hashed | {milliseconds(lambda: verify_weights(given.model)):.1f} |")
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = f"{place}/cache"
        large = Path(place) / "large"
        large.mkdir()
        for name in ("a.safetensors", "b.safetensors"):
            (large / name).write_bytes(bytes(int(given.gib * 2**29)))
        write_manifest(large, sorted(large.iterdir()))
        time.sleep(hashes.SETTLED_SECONDS + 0.1)
        os.environ["XDG_CACHE_HOME"] = f"{place}/empty"  # writing a manifest remembers, too
        print(f"| {given.gib:g} GiB in two files, the first time | {milliseconds(lambda: verify_weights(large), 1):.0f} |")
        print(f"| the same, unchanged since | {milliseconds(lambda: verify_weights(large)):.1f} |")


if __name__ == "__main__":
    main()

"""Milliseconds per distortion function, one core, mean over the five levels.

    python benchmarks/distortions.py [--side 512]
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
import skimage

from iqaflow import distortions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    image = cv2.resize(skimage.data.astronaut(), (chosen.side, chosen.side), interpolation=cv2.INTER_AREA)
    rng = np.random.default_rng(0)
    print(f"| function | ms at {chosen.side}x{chosen.side} |\n|---|---|")
    per_category: dict[str, list[float]] = {}
    for name in distortions.names():
        distortions.apply(image, name, 3, rng)  # imports and caches
        begun = time.perf_counter()
        for level in range(1, 6):
            for _ in range(chosen.repeats):
                distortions.apply(image, name, level, rng)
        milliseconds = (time.perf_counter() - begun) * 1000 / (5 * chosen.repeats)
        per_category.setdefault(distortions.category_of(name), []).append(milliseconds)
        print(f"| {name} | {milliseconds:.2f} |")
    mean = np.mean([np.mean(values) for values in per_category.values()])
    print(f"| **mean, categories uniform** | **{mean:.2f}** ({1000 / mean:.0f} images/s) |")


if __name__ == "__main__":
    main()

"""Photographs above the pixel budget: what the model says of them reduced, and seen tile by tile.

    python perf/tiles.py --photographs DIR [--model models/base-tiny] [--images 90]

Every photograph is asked clean, distorted as a whole, and distorted inside an ellipse of 4 to 25 % of it. Prints markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import spearmanr

from iqaflow import distortions, load
from iqaflow.calibrate.methods import interval
from iqaflow.core.environment import prepare
from iqaflow.data.images import SUFFIXES, decode
from iqaflow.infer import findings
from iqaflow.infer.picture import opened
from iqaflow.infer.tiles import is_large
from iqaflow.iqa import mdsi

MODES = ("clean", "global", "local")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("models/base-tiny"))
    parser.add_argument("--images", type=int, default=90)
    chosen = parser.parse_args()
    prepare()
    import torch

    torch.set_num_threads(1)
    judge, rng = load(chosen.model), np.random.default_rng(0)
    photographs = [decode(path) for path in sorted(chosen.photographs.rglob("*")) if path.suffix.lower() in SUFFIXES]
    photographs = [one for one in photographs if is_large(*one.shape[:2], judge.engine.budget)][: chosen.images]
    right: dict[tuple[str, str], list[float]] = {}
    scores: dict[str, list[float]] = {"reduced": [], "tiles": [], "truth": []}
    for photograph in photographs:
        for mode in MODES:
            image, name, truth = spoilt(photograph, mode, rng)
            scores["truth"].append(truth)
            for way, pixels in (("reduced", reduced(image, judge.engine.budget)), ("tiles", image)):
                said, score = asked(judge, pixels)
                right.setdefault((way, mode), []).append(float(said == name))
                scores[way].append(score)
    print(f"{len(photographs)} photographs, {len(scores['truth'])} images.\n")
    print("| | clean called clean | global distortion named | local distortion named | score, SRCC |\n|---|---|---|---|---|")
    for way in ("reduced", "tiles"):
        cells = [interval(np.array(right[way, mode]), 0) for mode in MODES]
        print(
            f"| {way} | "
            + " | ".join(f"{one['value']:.3f} ({one['ci95'][0]:.3f} to {one['ci95'][1]:.3f})" for one in cells)
            + f" | {spearmanr(scores[way], scores['truth'])[0]:.3f} |"
        )


def spoilt(photograph: np.ndarray, mode: str, rng: np.random.Generator) -> tuple[np.ndarray, str | None, float]:
    """An image, the category of its distortion (None: clean) and its full-reference score."""
    name, level = str(rng.choice(distortions.names())), int(rng.integers(1, 6))
    if mode == "clean":
        return photograph, None, 1.0
    if mode == "global":
        image = distortions.apply(photograph, name, level, rng)
    else:
        height, width = photograph.shape[:2]
        radius = (rng.uniform(0.04, 0.25) * height * width / np.pi) ** 0.5
        centre = int(rng.uniform(0.25, 0.75) * width), int(rng.uniform(0.25, 0.75) * height)
        mask = np.zeros((height, width), np.uint8)
        cv2.ellipse(mask, centre, (int(radius * 1.2), int(radius / 1.2)), float(rng.uniform(0, 180)), 0, 360, 1, -1)
        image = distortions.apply_in_mask(photograph, mask.astype(bool), name, level, rng)
    return image, distortions.category_of(name), mdsi.score(mdsi.similarity(photograph, image))


def reduced(image: np.ndarray, budget: int) -> np.ndarray:
    scale = (budget / (image.shape[0] * image.shape[1])) ** 0.5
    return cv2.resize(image, (round(image.shape[1] * scale), round(image.shape[0] * scale)), interpolation=cv2.INTER_AREA)


def asked(judge: Any, pixels: np.ndarray) -> tuple[str | None, float]:
    """The likeliest distortion (None: clean) and the score."""
    subjects = [opened(pixels)]
    session = judge.look(subjects)
    found = findings.distortions(judge, session, subjects)[0]
    return (found[0]["category"] if found else None), findings.scores(judge, session, subjects)[0]["value"]


if __name__ == "__main__":
    main()

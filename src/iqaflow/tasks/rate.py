"""Which of two images is better, briefly or with the reason (DepictQA-Wild, comparison)."""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.tasks.grammar import TAIL
from iqaflow.tasks.scene import Exchange, Scene, Targets, pick

POOL = (
    "Which image has the better quality?",
    "Which of the two images is less distorted?",
    "Compare both images: which one looks better?",
    "Choose the image of higher quality.",
)
DETAILED = ("Compare the quality of both images and explain the choice.", "Which image is better, and why?")
MIN_GAP = 0.08  # closer scores are a coin toss even for the metric that made them


def asked() -> str:
    return f"{POOL[0]} {TAIL}"


def questions(a: Scene, b: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    if abs(a.score - b.score) < MIN_GAP:
        return []
    better = "Image A" if a.score > b.score else "Image B"
    kind = "md" if max(len(a.flaws), len(b.flaws)) > 1 else "sd"
    targets = Targets(better=better, kind=kind)
    exchanges = [Exchange("rate", "brief", asked(), better, targets, (better,)),
                 Exchange("rate", "brief", f"{pick(rng, POOL)} {TAIL}", better, targets, (better,))]
    # the verdict first: its confidence is read at the same step as the brief answer's
    reason = f"{better} is better. Image A shows {_said(a)}. Image B shows {_said(b)}."
    exchanges.append(Exchange("rate", "detailed", pick(rng, DETAILED), reason, targets, (better,)))
    return exchanges


def _said(scene: Scene) -> str:
    faults = dict.fromkeys(f"{flaw.severity} {distortions.phrase(flaw.category)}" for flaw in scene.flaws)
    return " and ".join(faults) or "no distortion"

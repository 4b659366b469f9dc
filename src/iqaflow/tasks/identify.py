"""Name the distortion(s) of an image, or none (DepictQA-Wild, brief assessment)."""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.tasks.grammar import TAIL, identification
from iqaflow.tasks.scene import Exchange, Scene, Targets, pick

POOL = (
    "What distortion does the image show?",
    "Which distortion is present in the image?",
    "Name the distortion that lowers the quality of this image.",
    "What kind of degradation affects the image?",
    "Identify the distortion in this image.",
    "What is wrong with the quality of this image?",
    "Which type of quality fault can be seen here?",
    "Tell me the distortion of the image.",
)
COUNTED = {
    1: ("Name the ONE distortion of the image.", "Which ONE distortion does the image show?",
        "Identify the ONE main distortion in this image."),
    2: ("Name the TWO distortions of the image.", "Which TWO distortions does the image show?",
        "Identify the TWO main distortions in this image."),
}
SENTENCES = ("The image shows {}.", "The image is affected by {}.", "Its quality is lowered by {}.")
CLEAN_SENTENCES = ("The image shows no distortion, none.", "There is none, the quality is good.")


def asked(count: int) -> str:
    """The test question: the count told, a bare phrase asked for (as DepictQA-Wild tests)."""
    return f"{COUNTED[2 if count == 2 else 1][0]} {TAIL}"


def questions(scene: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    if not scene.visible(reference):
        return []
    categories = tuple(dict.fromkeys(flaw.category for flaw in scene.flaws))
    count = max(len(categories), 1)
    targets = Targets(categories, tuple(float(flaw.level) for flaw in scene.flaws),
                      kind="local" if scene.flaws and not scene.whole else "global")
    brief = identification(list(categories))
    labels = tuple(distortions.phrase(category) for category in categories) or (brief,)
    exchanges = [Exchange("identify", "brief", asked(count), brief, targets, labels)]
    stem = pick(rng, COUNTED[count]) if rng.random() < 0.5 else pick(rng, POOL)
    if rng.random() < 0.5:
        return [*exchanges, Exchange("identify", "brief", f"{stem} {TAIL}", brief, targets, labels)]
    if not categories:
        sentence = pick(rng, CLEAN_SENTENCES)
    else:
        said = [f"{flaw.severity} {distortions.phrase(flaw.category)}" for flaw in scene.flaws]
        sentence = pick(rng, SENTENCES).format(" and ".join(dict.fromkeys(said)))
    return [*exchanges, Exchange("identify", "detailed", stem, sentence, targets, labels if categories else ("none",))]

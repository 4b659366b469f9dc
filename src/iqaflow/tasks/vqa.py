"""Yes/no and what-questions about boxed regions (Grounding-IQA, GIQA-VQA), balanced between yes and no."""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.tasks.grammar import TAIL, identification
from iqaflow.tasks.refer import drawn, targets
from iqaflow.tasks.scene import Area, Exchange, Scene, pick

YES_NO = (
    "Is the {} affected by {}?",
    "Does the {} show {}?",
    "Is there {1} in the {0}?",
    "Does the {} suffer from {}?",
)
WHAT = (
    "What distortion affects the {}?",
    "What lowers the quality of the {}?",
    "What fault can be seen in the {}?",
)


def asked(scene: Scene, area: Area, category: str | None = None) -> str:
    """The test question: yes/no about a category, or what."""
    if category:
        return YES_NO[0].format(scene.place(area), distortions.phrase(category))
    return f"{WHAT[0].format(scene.place(area))} {TAIL}"


def questions(scene: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    if reference or not scene.areas or not scene.visible(reference):
        return []
    area = drawn(scene, rng)
    present = [flaw.category for flaw in scene.flaws_of(area.region)]
    yes = bool(present) and rng.random() < 0.5
    absent = sorted(set(distortions.categories()) - set(present))
    # half of the wrong categories come from elsewhere in the image, so that the box must be looked at
    elsewhere = [flaw.category for flaw in scene.flaws if flaw.category not in present]
    category = pick(rng, present) if yes else pick(rng, elsewhere if elsewhere and rng.random() < 0.5 else absent)
    said = "Yes" if yes else "No"
    truth = targets(scene, area)
    question = pick(rng, YES_NO).format(scene.place(area), distortions.phrase(category))
    exchanges = [Exchange("vqa", "brief", question, said, _kind(truth, f"yesno_{category}"), (said,))]
    if present:
        answer = identification(list(dict.fromkeys(present)))
        labels = tuple(distortions.phrase(one) for one in dict.fromkeys(present))
        question = f"{pick(rng, WHAT).format(scene.place(area))} {TAIL}"
        exchanges.append(Exchange("vqa", "brief", question, answer, _kind(truth, "what"), labels))
    return exchanges


def _kind(truth, kind: str):
    from dataclasses import replace

    return replace(truth, kind=kind)

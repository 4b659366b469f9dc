"""Describe the whole image: what is wrong, where (inline boxes), what it does, the verdict (all three papers)."""

from __future__ import annotations

import numpy as np

from iqaflow import distortions
from iqaflow.tasks.scene import Exchange, Scene, Targets, pick
from iqaflow.tasks.score import word

BRIEF = ("Describe the quality of the image briefly.", "Summarize the image quality in one sentence.",
         "Give a short quality description.")
DETAILED = (
    "Describe the quality of the image in detail, with boxes.",
    "Give a detailed quality description and mark the regions by boxes.",
    "Explain in detail what lowers the quality and where, with boxes.",
    "Assess the image and locate every fault with a box.",
)
# one effect per category, in plain words: what a person would notice
EFFECTS = {
    "blur": "which softens edges and hides fine detail",
    "noise": "which covers smooth areas with grain",
    "compression": "which leaves blocks and ringing around edges",
    "brighten": "which washes out the bright areas",
    "darken": "which hides detail in the shadows",
    "contrast_strengthen": "which makes the tones harsh",
    "contrast_weaken": "which makes the scene look flat",
    "saturate_strengthen": "which makes the colors unnatural",
    "saturate_weaken": "which makes the colors pale",
    "oversharpen": "which draws bright halos along edges",
    "pixelate": "which breaks shapes into squares",
    "quantization": "which turns smooth tones into bands",
}


def asked(style: str) -> str:
    return (BRIEF if style == "brief" else DETAILED)[0]


def questions(scene: Scene, reference: bool, rng: np.random.Generator) -> list[Exchange]:
    if not scene.visible(reference):
        return []
    return [brief(scene, pick(rng, BRIEF)), detailed(scene, pick(rng, DETAILED))]


def brief(scene: Scene, question: str) -> Exchange:
    verdict = word(scene.score)
    said = " and ".join(dict.fromkeys(f"{flaw.severity} {distortions.phrase(flaw.category)}" for flaw in scene.flaws))
    answer = f"The image shows {said}, the quality is {verdict}." if said else f"No distortion, the quality is {verdict}."
    return Exchange("describe", "brief", question, answer, targets(scene), (verdict,))


def detailed(scene: Scene, question: str) -> Exchange:
    sentences = []
    for flaw in scene.flaws:
        where = "The whole image" if flaw.region is None else f"The {scene.place(scene.area(flaw.region))}"
        sentences.append(f"{where} shows {flaw.severity} {distortions.phrase(flaw.category)}, {EFFECTS[flaw.category]}.")
    if not sentences:
        sentences = ["The image shows no distortion, edges are clear and tones are natural."]
    elif not scene.whole:
        sentences.append("The rest of the image is clear.")
    verdict = word(scene.score)
    answer = f"{' '.join(sentences)} The overall quality is {verdict}."
    return Exchange("describe", "detailed", question, answer, targets(scene), (verdict,))


def targets(scene: Scene) -> Targets:
    local = [flaw.region for flaw in scene.flaws if flaw.region is not None]
    return Targets(tuple(flaw.category for flaw in scene.flaws), tuple(float(flaw.level) for flaw in scene.flaws),
                   tuple(local), tuple(scene.cells(scene.area(region)) for region in local),
                   kind="global" if scene.whole or not scene.flaws else "local")

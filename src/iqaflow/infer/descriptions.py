"""Descriptions of large images, put together from what was found: the model itself sees such an image only reduced, where much of
that cannot be seen, so its own text could contradict the findings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from iqaflow.tasks import describe, grammar
from iqaflow.tasks.scene import Area, Flaw, Scene
from iqaflow.tasks.vocabulary import Vocabulary


def descriptions(result: dict[str, Any], vocabulary: Vocabulary) -> dict[str, str]:
    """`brief` and `detailed`, in the plain wording of the answers the model learnt, from an assessment without them."""

    def flaw(fault: dict[str, Any], region: int | None) -> Flaw:
        level = vocabulary.severities.index(fault["severity"]) + 1
        return Flaw(fault["phrase"], fault["category"], level, fault["severity"], 0, region, fault["phrase"])

    height, width = result["image"]["height"], result["image"]["width"]
    areas, flaws = [], []
    for number, region in enumerate(result["regions"]):
        if region["label"] == grammar.WHOLE:
            continue
        areas.append(Area(number, region["label"], np.zeros((0, 0), bool), tuple(region["box_xyxy"]), region["score"]["value"]))
        flaws += [flaw(fault, number) for fault in region["distortions"]]
    local = {local_flaw.category for local_flaw in flaws}
    flaws = [flaw(fault, None) for fault in result["distortions"] if fault["category"] not in local] + flaws
    # not the score's value, whose nearest word may be another
    value = vocabulary.values[vocabulary.ratings.index(result["score"]["level"])]
    scene = Scene("", width, height, value, tuple(flaws), tuple(areas))
    rng = np.random.default_rng(0)  # the plain wording draws nothing
    return {
        "brief": describe.brief(scene, "", False, rng, varied=False).answer,
        "detailed": describe.detailed(scene, "", False, rng, varied=False, boxed=True).answer,
    }

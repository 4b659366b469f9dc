"""The synthetic branch: distorted views and everything that can be asked about them, as rows of the two tables.

A unit is two consecutive images, and a deterministic function of (configuration, photographs, seed, unit number).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from iqaflow import tasks
from iqaflow.annotate import views
from iqaflow.annotate.views import Annotated
from iqaflow.core.config.schema import Annotate
from iqaflow.core.version import VERSION
from iqaflow.data.masks import encode_mask
from iqaflow.data.photographs import Photograph
from iqaflow.data.tables import SPLITS
from iqaflow.iqa import mdsi
from iqaflow.regions import Segments
from iqaflow.tasks.scene import Exchange

TEACHER = "synthetic"


def units(images: int) -> int:
    return (images + 1) // 2


def make_unit(
    unit: int,
    split: str,
    config: Annotate,
    seed: int,
    photographs: list[Photograph],
    pixels: Callable[[Photograph], np.ndarray],
    segments: Callable[[Photograph], Segments | None] | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of `images` and of `conversations` of one unit. `pixels` gives a photograph's pixels (H, W, 3), `segments` the
    masks of its parts, where it has any.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), unit])
    count = getattr(config.images, split)
    # neighbours share a photograph, so that a shard decodes few of them
    photograph = photographs[unit * len(photographs) // units(count)]
    parts = segments(photograph) if segments else None
    made: list[Annotated] = []
    shared = rng.random() < config.pairs
    for number in range(2 * unit, min(2 * unit + 2, count)):
        view = made[0].view if made and shared else views.cut(pixels(photograph), config, rng)
        for _ in range(views.TRIES):
            one = views.distort(view, parts, f"{split}-{number:06d}", config, rng)
            if not (made and shared and views.alike(made[0].scene, one.scene)):
                break
        made.append(one)
    conversations = [row for one in made for row in _asked_alone(one, split, config, rng)]
    if shared and len(made) == 2:
        conversations += _compared(made, split, config, rng)
    # a reference is stored for those who look at it: questions beside it, baselines and scores of the other splits
    shown = {image["image_id"] for row in conversations for image in row["image_ids"] if image["role"] == "reference"}
    images = [_image_row(one, photograph, split, seed, split != "train" or one.scene.image_id in shown) for one in made]
    return images, conversations


def _asked_alone(made: Annotated, split: str, config: Annotate, rng: np.random.Generator) -> list[dict[str, Any]]:
    scene = made.scene
    roles = [("image", scene.image_id)]
    plain = split != "train"  # calibration and test ask as the papers test
    alone = [one for task in tasks.single() for one in task.questions(scene, False, rng, plain)]
    rows = [_conversation_row(one, roles, "nr", split, number) for number, one in enumerate(alone)]
    # what cannot be seen without the reference is always asked about beside it
    if rng.random() < config.reference or not scene.visible(False):
        both = [("reference", scene.image_id), *roles]
        compared = [one for task in tasks.with_reference() for one in task.questions(scene, True, rng, plain)]
        rows += [_conversation_row(one, both, "fr", split, number) for number, one in enumerate(compared)]
    return rows


def _compared(made: list[Annotated], split: str, config: Annotate, rng: np.random.Generator) -> list[dict[str, Any]]:
    a, b = (made[index] for index in rng.permutation(2))
    roles = [("A", a.scene.image_id), ("B", b.scene.image_id)]
    mode = "fr" if rng.random() < config.reference else "nr"
    if mode == "fr":
        roles.insert(0, ("reference", a.scene.image_id))
    elif not (a.scene.visible(False) and b.scene.visible(False)):
        return []
    exchanges = [one for task in tasks.pairs() for one in task.questions(a.scene, b.scene, mode == "fr", rng, split != "train")]
    return [_conversation_row(one, roles, mode, split, number, "-pair") for number, one in enumerate(exchanges)]


def _image_row(made: Annotated, photograph: Photograph, split: str, seed: int, reference: bool) -> dict[str, Any]:
    scene = made.scene
    return {
        "image_id": scene.image_id,
        "origin": "synthetic",
        "dataset": "synthetic",
        "source_id": photograph.source_id,
        "source_sha256": photograph.sha256,
        "source_origin": photograph.origin,
        "license": photograph.license,
        "split": split,
        "width": scene.width,
        "height": scene.height,
        "image": made.encoded,
        "reference": made.view.encoded if reference else None,
        "distortions": [
            {
                "name": flaw.name,
                "category": flaw.category,
                "level": flaw.level,
                "severity": flaw.severity,
                "order": flaw.order,
                "region_id": flaw.region,
            }
            for flaw in scene.flaws
        ],
        "regions": [
            {
                "region_id": area.region,
                "label": area.label,
                "box_xyxy": list(map(float, area.box)),
                "mask_rle": encode_mask(area.mask),
                "area": np.count_nonzero(area.mask) / area.mask.size,
                "score": area.score,
            }
            for area in scene.areas
        ],
        "score": scene.score,
        "score_source": mdsi.SOURCE,
        "phash": photograph.phash,
        "pipeline_version": VERSION,
        "seed": seed,
    }


def _conversation_row(
    one: Exchange, roles: list[tuple[str, str]], mode: str, split: str, number: int, suffix: str = ""
) -> dict[str, Any]:
    return {
        "conversation_id": f"{roles[-1][1]}{suffix}-{mode}-{number:02d}",
        "origin": "synthetic",
        "dataset": "synthetic",
        "image_ids": [{"role": role, "image_id": image_id} for role, image_id in roles],
        "task": one.task,
        "style": one.style,
        "reference_mode": mode,
        "turns": [{"role": "user", "text": one.question}, {"role": "assistant", "text": one.answer}],
        "answer_spans": one.spans(),
        "targets": dict(vars(one.targets)),
        "teacher": TEACHER,
        "teacher_confidence": 1.0,
        "split": split,
    }

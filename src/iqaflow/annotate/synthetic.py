"""The synthetic branch: distorted views and everything that can be asked about them, as rows of the two tables.

A unit is two consecutive images, and a deterministic function of (configuration, photographs, seed, unit number).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from iqaflow import tasks
from iqaflow.annotate import views
from iqaflow.annotate.table_rows import conversation_row, region_row
from iqaflow.annotate.views import Annotated
from iqaflow.core.config.schema import Annotate
from iqaflow.core.version import VERSION
from iqaflow.data.photographs import OWN, Photograph
from iqaflow.data.rows import ConversationRow, ImageRow, Split
from iqaflow.data.tables import SPLITS
from iqaflow.iqa import mdsi
from iqaflow.regions import Segments
from iqaflow.tasks.scene import Exchange

TEACHER = "synthetic"


def units(images: int) -> int:
    return (images + 1) // 2


def make_unit(
    unit: int,
    split: Split,
    config: Annotate,
    seed: int,
    photographs: list[Photograph],
    pixels: Callable[[Photograph], np.ndarray],
    segments: Callable[[Photograph], Segments | None] | None = None,
) -> tuple[list[ImageRow], list[ConversationRow]]:
    """Rows of `images` and of `conversations` of one unit. `pixels` gives a photograph's pixels (H, W, 3), `segments` the
    masks of its parts, where it has any.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), unit])
    count = getattr(config.images, split)
    # neighbours share a photograph, so that a shard decodes few of them
    photograph = photographs[unit * len(photographs) // units(count)]
    parts = segments(photograph) if segments else None
    annotated: list[Annotated] = []
    shared = rng.random() < config.pairs
    for number in range(2 * unit, min(2 * unit + 2, count)):
        view = annotated[0].view if annotated and shared else views.cut(pixels(photograph), config, rng)
        for _ in range(views.TRIES):
            distorted = views.distort(view, parts, f"{split}-{number:06d}", config, rng)
            if not (annotated and shared and views.alike(annotated[0].scene, distorted.scene)):
                break
        annotated.append(distorted)
    conversations = [row for distorted in annotated for row in _single(distorted, split, config, rng)]
    if shared and len(annotated) == 2:
        conversations += _compared(annotated, split, config, rng)
    # a reference is stored for those who look at it: questions beside it, baselines and scores of the other splits
    shown = {image["image_id"] for row in conversations for image in row["image_ids"] if image["role"] == "reference"}
    images = [
        _image_row(distorted, photograph, split, seed, split != "train" or distorted.scene.image_id in shown)
        for distorted in annotated
    ]
    return images, conversations


def _single(distorted: Annotated, split: Split, config: Annotate, rng: np.random.Generator) -> list[ConversationRow]:
    """The questions about one image, without the reference and beside it."""
    scene = distorted.scene
    roles = [("image", scene.image_id)]
    plain = split != "train"  # calibration and test ask as the papers test
    alone = [exchange for task in tasks.single() for exchange in task.questions(scene, False, rng, plain)]
    rows = [_conversation_row(exchange, roles, "nr", split, number) for number, exchange in enumerate(alone)]
    # what cannot be seen without the reference is always asked about beside it
    if rng.random() < config.reference or not scene.visible(False):
        both = [("reference", scene.image_id), *roles]
        beside = [exchange for task in tasks.with_reference() for exchange in task.questions(scene, True, rng, plain)]
        rows += [_conversation_row(exchange, both, "fr", split, number) for number, exchange in enumerate(beside)]
    return rows


def _compared(annotated: list[Annotated], split: Split, config: Annotate, rng: np.random.Generator) -> list[ConversationRow]:
    a, b = (annotated[index] for index in rng.permutation(2))
    roles = [("A", a.scene.image_id), ("B", b.scene.image_id)]
    mode = "fr" if rng.random() < config.reference else "nr"
    if mode == "fr":
        roles.insert(0, ("reference", a.scene.image_id))
    elif not (a.scene.visible(False) and b.scene.visible(False)):
        return []
    exchanges = [
        exchange for task in tasks.pairs() for exchange in task.questions(a.scene, b.scene, mode == "fr", rng, split != "train")
    ]
    return [_conversation_row(exchange, roles, mode, split, number, "-pair") for number, exchange in enumerate(exchanges)]


def _image_row(distorted: Annotated, photograph: Photograph, split: Split, seed: int, reference: bool) -> ImageRow:
    scene = distorted.scene
    return {
        "image_id": scene.image_id,
        "origin": "synthetic",
        "dataset": OWN,
        "source_id": photograph.source_id,
        "source_sha256": photograph.sha256,
        "source_origin": photograph.origin,
        "license": photograph.license,
        "split": split,
        "width": scene.width,
        "height": scene.height,
        "image": distorted.encoded,
        "reference": distorted.view.encoded if reference else None,
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
        "regions": [region_row(area) for area in scene.areas],
        "score": scene.score,
        "score_std": None,
        "score_source": mdsi.SOURCE,
        "phash": photograph.phash,
        "pipeline_version": VERSION,
        "seed": seed,
    }


def _conversation_row(
    exchange: Exchange, roles: list[tuple[str, str]], mode: str, split: Split, number: int, suffix: str = ""
) -> ConversationRow:
    return conversation_row(
        exchange,
        f"{roles[-1][1]}{suffix}-{mode}-{number:02d}",
        roles,
        origin="synthetic",
        dataset=OWN,
        reference_mode=mode,
        spans=exchange.spans(),
        teacher=TEACHER,
        confidence=1.0,
        split=split,
    )

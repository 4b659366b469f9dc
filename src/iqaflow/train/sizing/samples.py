"""A sample of the packs a run will see, and what they bring to a step: of the annotated data, or of the task templates before
there is any.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.workspace import Workspace
from iqaflow.model.packing import Pack, Packer
from iqaflow.tasks.scene import Exchange
from iqaflow.train.sizing.footprint import Load

SAMPLE = 32  # packs looked at


def annotated(config: Config, workspace: Workspace, packer: Packer) -> tuple[list[Pack], tuple[str, int]]:
    """A sample of the packs that training will see, where they come from, and how many there are."""
    from iqaflow.train.dataset import Packs

    plain = config.train.model_copy(update={"dense": 0.0, "soft_targets": False})
    packs = Packs(workspace.annotated, "train", packer, plain, config.seed)
    sample = [packs.pack(number, 0)[0] for number in packs.order(0)[:SAMPLE]]
    return sample, (f"{len(sample)} packs of data/annotated", len(packs))


def templates(config: Config, packer: Packer) -> tuple[list[Pack], tuple[str, int]]:
    """Packs of the task templates on blank images of the configured sizes, before there is data."""
    rng, packs = np.random.default_rng([config.seed, 29]), []
    annotate = config.annotate
    kinds = (("image",), ("reference", "image"), ("A", "B"))
    shares = np.array([1.0, annotate.reference, annotate.pairs])
    for _ in range(SAMPLE):
        roles = kinds[int(rng.choice(3, p=shares / shares.sum()))]
        height, width = annotate.sizes_px[int(rng.integers(len(annotate.sizes_px)))]
        exchanges = list(_exchanges(config, roles, height, width, rng))
        chosen = sorted(rng.permutation(len(exchanges))[: config.train.questions])
        branches = [packer.branch(roles, exchanges[index].question, exchanges[index].answer) for index in chosen]
        packs.append(Pack([np.zeros((height, width, 3), np.uint8)] * len(roles), roles, branches))
    return packs, ("the task templates and annotate.sizes_px", round(annotate.images.train * float(shares.sum())))


def _exchanges(config: Config, roles: tuple[str, ...], height: int, width: int, rng: np.random.Generator) -> Iterator[Exchange]:
    """Questions and answers of all tasks about a made-up scene: four quarters, clean or with one or two distortions."""
    from iqaflow import distortions, tasks
    from iqaflow.tasks.scene import Area, Flaw, Scene

    def scene() -> Scene:
        areas, names = [], rng.permutation(sorted(distortions.categories()))
        for number in range(4):
            top, left = height // 2 * (number // 2), width // 2 * (number % 2)
            mask = np.zeros((height, width), bool)
            mask[top : top + height // 2, left : left + width // 2] = True
            areas.append(
                Area(number, "dark green region", mask, (left, top, left + width // 2, top + height // 2), float(rng.random()))
            )
        count = 0 if rng.random() < config.annotate.clean else 1 + int(rng.random() < config.annotate.two)
        local = rng.random() < config.annotate.local
        flaws = [
            Flaw(
                str(name),
                str(name),
                level := int(rng.integers(1, 6)),
                distortions.SEVERITIES[level - 1],
                order,
                order if local else None,
            )
            for order, name in enumerate(names[:count])
        ]
        return Scene("", width, height, float(rng.random()), tuple(flaws), tuple(areas))

    if roles[0] == "A":
        while True:  # scenes too alike to rate give no question
            a, b = scene(), scene()
            exchanges = [exchange for task in tasks.pairs() for exchange in task.questions(a, b, False, rng)]
            if exchanges:
                yield from exchanges
                return
    subject, reference = scene(), roles[0] == "reference"
    for task in tasks.with_reference() if reference else tasks.single():
        yield from task.questions(subject, reference, rng)


def load(packs: list[Pack], packer: Packer) -> Load:
    """What the packs bring to a step, from the tensors they become."""
    rows = []
    for pack in packs:
        batch = packer.collate([pack])
        images, answers = int(batch["tokens"].sum()), len(batch["at"])
        length, real = batch["input_ids"].shape[1], int((batch["segments"] >= 0).sum())
        pixels = batch["pixel_values"]
        patch = packer.model.config.vision_config.patch_size
        patch = patch[0] if isinstance(patch, (list, tuple)) else patch
        patches = len(pixels) if pixels.ndim == 2 else pixels.numel() // (3 * patch * patch)
        question_tokens = sum(len(branch.prompt) for branch in pack.branches)
        rows.append((images, question_tokens, answers, len(pack.branches), real, patches, length, real, answers))
    values = np.array(rows, float)
    means, most = [float(value) for value in values[:, :5].mean(0)], [int(value) for value in values[:, 5:].max(0)]
    return Load(*means, *most)  # type: ignore[arg-type]  # five means and four maxima

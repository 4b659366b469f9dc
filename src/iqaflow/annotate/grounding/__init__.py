"""People's descriptions made into grounded data, in four stages (Grounding-IQA, section 3.3).

1. triples.py: what a description talks about, as (phrase, quality, effect), by the teacher or by word lists;
2. teachers/detector.py: boxes for each phrase;
3. objects.py: boxes that show what was said (IQA-filter); boxes.py: as few as it takes (box-merge);
4. boxes.py: boxes into the text (fusion); questions.py: questions and answers about the boxed objects (GIQA-VQA).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from iqaflow.core.config import Config
from iqaflow.core.workspace import Workspace
from iqaflow.regions import Region
from iqaflow.tasks.scene import Exchange, Targets

if TYPE_CHECKING:
    from iqaflow.annotate.grounding.objects import Boxed

RULES = "rules"  # the name of the word lists where a teacher's name would stand


@dataclass(frozen=True)
class Grounded:
    """Regions of an image, one per box, and what can be asked; `region_ids` of the targets count the regions from 0.

    `teacher` says who read the text and who found the boxes; `confidence` is the detector's mean over the objects, None
    where no box was found.
    """

    regions: list[Region]
    exchanges: list[Exchange]
    teacher: str
    confidence: float | None = None


def ground(description: str, image: np.ndarray, config: Config, workspace: Workspace) -> Grounded:
    """Ground one human description of a uint8 RGB image (H, W, 3).

    Where nothing could be boxed the description comes back as it is, as an answer without boxes; an empty one gives no
    exchange. Raises ConfigError if `annotate.detector.model` is missing or cannot be loaded.
    """
    from iqaflow.annotate import teachers
    from iqaflow.annotate.grounding import boxes, objects, questions
    from iqaflow.annotate.grounding.text import plain
    from iqaflow.annotate.grounding.triples import triples
    from iqaflow.annotate.teachers import detector, segmenter
    from iqaflow.core.errors import ConfigError

    finder = detector.of(config.annotate.detector, workspace)
    if finder is None:
        raise ConfigError("annotate.detector.model is missing: boxes for descriptions need a zero-shot detector.")
    teacher = teachers.of(config.annotate.teacher, workspace)
    text = plain(description)
    rng = np.random.default_rng([config.seed, *hashlib.sha256(text.encode()).digest()[:8]])
    boxed_objects = objects.boxed(triples(text, teacher), image, finder, teacher)
    named_boxes = [(boxed.triple.phrase, box) for boxed in boxed_objects for box in boxed.boxes]
    masks = segmenter.masks(image, [box for _, box in named_boxes], config.annotate.sam, workspace)
    regions = [Region(mask, box, phrase) for (phrase, box), mask in zip(named_boxes, masks, strict=True)]
    height, width = image.shape[:2]
    cells = {boxed.triple.phrase: boxes.cells(boxed.boxes, width, height) for boxed in boxed_objects}
    numbers = {phrase: tuple(at for at, (name, _) in enumerate(named_boxes) if name == phrase) for phrase in cells}
    exchanges = [_description(text, cells, numbers, rng)] if text else []
    exchanges += questions.exchanges(text, boxed_objects, cells, numbers, teacher, rng) if boxed_objects else []
    reader = teacher.name if teacher else RULES
    return Grounded(regions, exchanges, f"{reader} + {finder.name}", _trust(boxed_objects))


def _description(
    text: str, cells: dict[str, tuple[tuple[int, int], ...]], numbers: dict[str, tuple[int, ...]], rng: np.random.Generator
) -> Exchange:
    """GIQA-DES: the description with its boxes, asked for by one of the requests for boxes; by one without if it has none."""
    from iqaflow.annotate.grounding.boxes import fused
    from iqaflow.tasks import grammar
    from iqaflow.tasks.phrasing import describe as phrasing
    from iqaflow.tasks.scene import pick

    answer = fused(text, cells)
    parsed = grammar.parse(answer)
    boxed = tuple(phrase for phrase in cells if any(place.label.lower() == phrase.lower() for place in parsed.places))
    targets = Targets(
        parsed.categories,
        (),
        tuple(number for phrase in boxed for number in numbers[phrase]),
        tuple(dict.fromkeys((place.first, place.last) for place in parsed.places if place.last is not None)),
        kind="human",
    )
    question = pick(rng, phrasing.BOXED if parsed.places else phrasing.WORDS)
    rating = parsed.rating
    if rating is not None and not re.search(rf"(?<!\w){rating}(?!\w)", answer):  # the parser reads capitals too
        rating = None
    return Exchange("describe", "detailed", question, answer, targets, (rating,) if rating else ())


def _trust(boxed_objects: list[Boxed]) -> float | None:
    return float(np.mean([boxed.score for boxed in boxed_objects])) if boxed_objects else None

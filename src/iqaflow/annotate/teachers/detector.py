"""A zero-shot detector of the Grounding DINO class by `transformers`: a phrase in, boxes with scores out.

annotate.detector: {model: OWNER/NAME, revision: 40 hex digits}        or a local folder
"""

from __future__ import annotations

import functools
import re
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from iqaflow.annotate.teachers.weights import Weights, located
from iqaflow.core.config.schema import Detector as Section
from iqaflow.core.errors import ConfigError
from iqaflow.core.workspace import Workspace

CLASSES = ("grounding-dino", "mm-grounding-dino")
MOST = 20  # boxes of one phrase: more is a texture, not objects


@dataclass(frozen=True)
class Detection:
    """A box in pixels (x0, y0, x1, y1), right and bottom exclusive, and how much the detector trusts it, 0..1."""

    box: tuple[float, float, float, float]
    score: float


class Detector:
    """Safe to use from several threads, one at a time inside."""

    def __init__(self, config: Section, workspace: Workspace) -> None:
        weights = located(config.model, config.revision, "annotate.detector", workspace)
        self.config, self.name, self.lock = config, weights.name, threading.Lock()
        self.model, self.processor = _load(weights)

    def find(self, image: np.ndarray, phrase: str) -> list[Detection]:
        """Boxes of what a phrase names in a uint8 RGB image (H, W, 3), surest first, clipped to the image.

        The detector reads the whole phrase, not the bare noun (Grounding-IQA 3.3); a box that matches none of its words
        is no answer to it.
        """
        import torch

        words = " ".join(re.sub(r"[^\w' -]+", " ", phrase.lower()).split())  # a full stop would begin another phrase
        if not words:
            return []
        height, width = image.shape[:2]
        with self.lock, torch.inference_mode():
            inputs = self.processor(
                images=image, text=[f"{words}."], return_tensors="pt", truncation=True, max_length=self.model.config.max_text_len
            ).to(self.model.device)
            result = self.processor.post_process_grounded_object_detection(
                self.model(**inputs),
                inputs.input_ids,
                threshold=self.config.box_threshold,
                text_threshold=self.config.text_threshold,
                target_sizes=[(height, width)],
            )[0]
        detections = []
        labels = result["text_labels"][: len(result["boxes"])]  # for no boxes there is one empty label
        for box, score, label in zip(result["boxes"].tolist(), result["scores"].tolist(), labels, strict=True):
            x0, x1 = (min(max(x, 0.0), float(width)) for x in (box[0], box[2]))
            y0, y1 = (min(max(y, 0.0), float(height)) for y in (box[1], box[3]))
            if re.search(r"\w", re.sub(r"\[\w+\]", "", label)) and x1 - x0 >= 1 and y1 - y0 >= 1:
                detections.append(Detection((x0, y0, x1, y1), min(max(score, 0.0), 1.0)))
        return sorted(detections, key=lambda detection: (-detection.score, detection.box))[:MOST]


@functools.lru_cache(maxsize=1)
def of(config: Section, workspace: Workspace) -> Detector | None:
    """The detector of these parameters, loaded once per process; None if none is named. Raises ConfigError."""
    return Detector(config, workspace) if config.model else None


def _load(weights: Weights) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForZeroShotObjectDetection, AutoProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()
    options = {"trust_remote_code": False, **weights.pinned}
    try:
        kind = AutoConfig.from_pretrained(weights.where, **options).model_type
        if kind not in CLASSES:
            raise ValueError(f"it is a {kind} model, expected one of {', '.join(CLASSES)}")
        model = AutoModelForZeroShotObjectDetection.from_pretrained(weights.where, use_safetensors=True, **options)
        processor = AutoProcessor.from_pretrained(weights.where, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = str(error).splitlines()[0][:300]
        raise ConfigError(f"annotate.detector.model: {weights.name} cannot be loaded: {reason}") from None
    return model.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu"), processor

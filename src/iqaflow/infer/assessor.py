"""The assessor: a calibrated model that says of an image what is wrong, where, how badly, and how sure it is.

    iqaflow.load("champion").assess("photo.jpg")
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iqaflow.calibrate import confidence as calibrated
from iqaflow.calibrate import ground as grounding
from iqaflow.calibrate import record as records
from iqaflow.data.images import ImageError, decode
from iqaflow.data.tables import encode_mask
from iqaflow.distortions import SEVERITIES
from iqaflow.infer.engine import Engine, Prompt
from iqaflow.infer.reading import identify_candidates
from iqaflow.infer.regions import Asked, asked_region
from iqaflow.ops.errors import InputError
from iqaflow.tasks import describe, grammar, ground, identify, rate, refer
from iqaflow.tasks import score as rating

SCHEMA = "iqaflow.assessment/1"
NAMED = 0.2  # least calibrated probability of a distortion that is listed
WORKING_SIDE = 640  # regions are found at this long side, then given in pixels of the original
MAX_PIXELS = 200_000_000
MIN_SIDE = 8

Source = str | Path | bytes | np.ndarray


class Assessor:
    """One loaded model. Not for several threads at once."""

    def __init__(self, engine: Engine, record: dict[str, Any], model: dict[str, Any]) -> None:
        self.engine, self.record, self.model = engine, record, model
        self.max_pixels = MAX_PIXELS  # of an encoded image, checked before it is decoded

    @classmethod
    def load(cls, uri: str | Path) -> Assessor:
        from iqaflow.infer.locate import locate

        place = locate(uri)
        record = records.read(place.calibration) if place.calibration else records.defaults()
        return cls(Engine.load(place.stage1), record, place.model)

    def probabilities(self, kind: str, log_probs: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of the candidates of a question of this kind (`reading.Reading.kind`)."""
        return calibrated.probabilities(log_probs, kind, self.record)

    def expected_score(self, probabilities: np.ndarray) -> float:
        """Score 0..1: the expectation over the five rating words (Q-Align's read-out)."""
        return float(np.dot(probabilities, rating.VALUES))

    def ground(self, image: np.ndarray, spatial: Any) -> grounding.Grounding:
        return grounding.ground(image, spatial, self.record)

    def assess(self, image: Source, reference: Source | None = None, region: Sequence[float] | None = None,
               mask: np.ndarray | None = None, point: Sequence[float] | None = None, phrase: str | None = None,
               question: str | None = None) -> dict[str, Any]:
        """An assessment (schema `iqaflow.assessment/1`, plain JSON values) of one image.

        `image` and `reference`: path, encoded bytes, or uint8 RGB (H, W, 3). A region may be a box (x0, y0, x1, y1), a bool
        mask (H, W), a point (x, y), all in pixels of the original, or a phrase; it is then the only region reported. A
        `question` is answered freely. Raises InputError if an image cannot be read or a region lies outside it.
        """
        begun = time.perf_counter()
        pixels, about = _opened(image, self.max_pixels)
        images, roles = [pixels], ["image"]
        if reference is not None:
            images, roles = [_opened(reference, self.max_pixels)[0], pixels], ["reference", "image"]
        session = self.engine.session([images], [roles])
        # regions, references and questions of the papers are asked of the image alone
        alone = session if reference is None else self.engine.session([[pixels]], [["image"]])
        result: dict[str, Any] = {"schema": SCHEMA, "image": about, "model": self.model, "score": self._score(session)}
        result["distortions"] = self._distortions(session)
        wanted = asked_region(pixels, region, mask, point, phrase)
        if wanted:
            result["regions"] = [self._region(alone, pixels, wanted)]
        else:
            result["regions"] = self._found(alone, pixels) if result["distortions"] else []
        written = session.write([Prompt(0, describe.asked(style)) for style in ("brief", "detailed")])
        result["description"] = {style: text for style, (text, _) in zip(("brief", "detailed"), written, strict=True)}
        if question:
            (text, sure), = alone.write([Prompt(0, question)])
            result["answer"] = {"question": question, "text": text, "confidence": _round(sure)}
        result["timing_ms"] = {"total": round(1000 * (time.perf_counter() - begun), 1)}
        return result

    def compare(self, a: Source, b: Source, reference: Source | None = None) -> dict[str, Any]:
        """Which of two images is better: `{better, confidence, reason, regions}`; regions are the worst of each image."""
        opened = [_opened(one, self.max_pixels) for one in (a, b)]
        images, roles = [pixels for pixels, _ in opened], ["A", "B"]
        if reference is not None:
            images, roles = [_opened(reference, self.max_pixels)[0], *images], ["reference", *roles]
        session = self.engine.session([images], [roles])
        candidates = ("Image A", "Image B")
        chances = self.probabilities("rate", session.choose([Prompt(0, rate.asked())], candidates)[0])
        best = int(chances.argmax())
        said = Prompt(0, rate.DETAILED[0], self.engine.ids(f"{candidates[best]} is better."))
        (reason, _), = session.write([said])
        regions = []
        for name, pixels in zip(candidates, images[-2:], strict=True):
            alone = self.engine.session([[pixels]], [["image"]])
            if self._distortions(alone):
                regions += [{"image": name, **found} for found in self._found(alone, pixels)]
        return {"schema": "iqaflow.comparison/1", "images": [about for _, about in opened], "model": self.model,
                "better": candidates[best], "confidence": _round(chances[best]),
                "reason": f"{candidates[best]} is better.{reason}", "regions": regions}

    def score(self, images: Sequence[Source]) -> list[dict[str, Any]]:
        """`{value, level, distribution, confidence}` of each image, all in one batch."""
        opened = [[_opened(image, self.max_pixels)[0]] for image in images]
        session = self.engine.session(opened, [["image"]] * len(opened))
        prompts = [Prompt(item, rating.asked()) for item in range(len(opened))]
        return [self._rated(logs) for logs in session.choose(prompts, grammar.RATINGS)]

    def _score(self, session: Any) -> dict[str, Any]:
        return self._rated(session.choose([Prompt(0, rating.asked())], grammar.RATINGS)[0])

    def _rated(self, logs: np.ndarray) -> dict[str, Any]:
        chances = self.probabilities("score", logs)
        value = self.expected_score(chances)
        word = rating.word(value)
        return {"value": _round(value), "level": word,
                "distribution": {name: _round(chance) for name, chance in zip(grammar.RATINGS, chances, strict=True)},
                "confidence": _round(chances[grammar.RATINGS.index(word)])}

    def _distortions(self, session: Any) -> list[dict[str, Any]]:
        """What the whole image suffers from, most likely first; empty if it is clean."""
        candidates = identify_candidates(1)
        logs = session.choose([Prompt(0, identify.asked(1))], candidates)[0]
        chances = self.probabilities("identify", logs)
        if candidates[int(chances.argmax())] == grammar.CLEAN:
            return []
        listed = [index for index in np.argsort(-chances)
                  if candidates[index] != grammar.CLEAN and (chances[index] >= NAMED or index == chances.argmax())]
        phrases = grammar.phrases()
        found = []
        for index in listed:
            steps = session.choose([Prompt(0, identify.POOL[0], self.engine.ids("The image shows"))],
                                   [f" {severity} {candidates[index]}" for severity in SEVERITIES], ended=False)[0]
            found.append({"category": phrases[candidates[index]], "phrase": candidates[index], **_severity(np.exp(steps)),
                          "probability": _round(np.exp(logs[index])), "confidence": _round(chances[index])})
        return found

    def _found(self, session: Any, pixels: np.ndarray) -> list[dict[str, Any]]:
        """The worst region as the model points to it, or the whole image where the gate says so."""
        working = _shrunk(pixels)
        (spatial, label), = session.spatial([Prompt(0, ground.asked("worst"))])
        place = self.ground(working, spatial)
        scale = pixels.shape[1] / working.shape[1], pixels.shape[0] / working.shape[0]
        box = [_round(edge * scale[axis % 2], 1) for axis, edge in enumerate(place.box_xyxy)]
        where = Asked(grammar.WHOLE if place.whole else label, tuple(box), _grown(place.mask, pixels.shape[:2]),
                      [tuple(_round(value * scale[axis], 1) for axis, value in enumerate(point)) for point in place.points],
                      place.cells, place.confidence)
        return [self._region(session, pixels, where)]

    def _region(self, session: Any, pixels: np.ndarray, where: Asked) -> dict[str, Any]:
        """What is wrong with a region, its score, and how sure we are."""
        height, width = pixels.shape[:2]
        named = where.named(width, height)
        phrases = grammar.phrases()
        pairs = [(severity, phrase) for phrase in sorted(phrases) for severity in SEVERITIES]
        candidates = [*(f"{severity} {phrase}" for severity, phrase in pairs), grammar.CLEAN]
        question = refer.SHORT[0].format(region=named)
        chances = np.exp(session.choose([Prompt(0, question)], candidates)[0])
        by_phrase = chances[:-1].reshape(len(phrases), len(SEVERITIES))
        total = by_phrase.sum(1)
        faults = [{"category": phrases[phrase], "phrase": phrase, **_severity(by_phrase[row]),
                   "probability": _round(total[row]), "confidence": _round(total[row])}
                  for row, phrase in enumerate(sorted(phrases)) if total[row] >= max(NAMED, float(chances[-1]))]
        faults.sort(key=lambda fault: -fault["probability"])
        logs = session.choose([Prompt(0, rating.REGION[0].format(region=named))], grammar.RATINGS)[0]
        return {
            "label": where.label, "box_xyxy": [float(edge) for edge in where.box], "cells": [int(c) for c in where.cells],
            "points": [[float(x), float(y)] for x, y in where.points], "mask_rle": encode_mask(where.mask),
            "distortions": faults, "score": self._rated(logs),
            "confidence": _round(where.confidence if where.confidence is not None else max(total.max(), chances[-1])),
        }


def _severity(chances: np.ndarray) -> dict[str, Any]:
    """Severity word and expected level 1..5 from the chances of the five words."""
    shares = chances / chances.sum()
    return {"severity": SEVERITIES[int(shares.argmax())], "level": _round(float(np.dot(shares, range(1, 6))), 2)}


def _opened(image: Source, max_pixels: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels, and what identifies the image in a result."""
    path = None
    try:
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise InputError(f"An image array must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}.")
            if min(image.shape[:2]) < MIN_SIDE:
                raise InputError(f"The image is {image.shape[1]}x{image.shape[0]}, its short side is under {MIN_SIDE} px.")
            pixels, data = image, image.tobytes()
        else:
            data = image if isinstance(image, bytes) else Path(image).read_bytes()
            path = None if isinstance(image, bytes) else str(image)
            pixels = decode(data, max_pixels, MIN_SIDE)
    except ImageError as error:
        raise InputError(f"{path or 'The image'} cannot be used: {str(error).removeprefix('image ')}.") from None
    except OSError as error:
        raise InputError(f"{image} cannot be read: {error.strerror or error}.") from None
    return pixels, {"path": path, "width": pixels.shape[1], "height": pixels.shape[0],
                    "sha256": hashlib.sha256(data).hexdigest()}


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    import cv2

    scale = WORKING_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _grown(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    import cv2

    return cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)


def _round(value: float, digits: int = 4) -> float:
    return round(float(value), digits)



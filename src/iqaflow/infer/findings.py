"""What a model finds in images: score, distortions, places and what is wrong there. Every step asks all images at once.

Steps take the evaluator (the loaded assessor), a session that holds the subjects in order, and the subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from iqaflow.data.masks import encode_mask
from iqaflow.engine.session import Engine, Prompt, Session
from iqaflow.grounding.ground import Grounding, mask_box, parts
from iqaflow.infer import tiles
from iqaflow.infer.picture import Subject
from iqaflow.infer.regions import RegionPrompt
from iqaflow.infer.schema import Fault, Region, Score
from iqaflow.regions import colour
from iqaflow.tasks import grammar, ground, identify, refer
from iqaflow.tasks import score as rating
from iqaflow.tasks.phrasing.score import REGION
from iqaflow.tasks.vocabulary import Vocabulary

NAMED = 0.2  # least calibrated probability of a distortion that is listed
WORKING_SIDE = 640  # regions are found at this long side, then given in pixels of the original
MOST_REGIONS = 6
SAME = 0.5  # places that overlap by more (IoU) are one
LEAST_AREA = 0.004  # smaller parts of a place are specks


class Evaluator(Protocol):
    """What the steps need of an assessor: the model that is asked, and its calibration."""

    engine: Engine
    max_pixels: int

    def probabilities(self, kind: str, log_probs: np.ndarray) -> np.ndarray: ...

    def expected_score(self, probabilities: np.ndarray) -> float: ...

    def ground(self, image: np.ndarray, spatial: Any) -> Grounding: ...


def scores(evaluator: Evaluator, session: Session, subjects: Sequence[Subject]) -> list[Score]:
    """`{value, level, distribution, confidence}` of each image."""
    logs = session.choose(
        [Prompt(item, rating.plain_question()) for item in range(len(subjects))], evaluator.engine.vocabulary.ratings
    )
    out = []
    for subject, row in zip(subjects, logs, strict=True):
        tiled = subject.mosaic
        chances = tiled.mean(_each(evaluator, "score", tiled.ratings)) if tiled else evaluator.probabilities("score", row)
        out.append(rated(evaluator, chances))
    return out


def rated(evaluator: Evaluator, chances: np.ndarray) -> Score:
    """The entry `score` of a result from the calibrated chances of the rating words: `value` their expectation, `level` the
    likeliest one, `confidence` its chance.
    """
    words, best = evaluator.engine.vocabulary.ratings, int(chances.argmax())
    return {
        "value": rounded(evaluator.expected_score(chances)),
        "level": words[best],
        "distribution": {name: rounded(chance) for name, chance in zip(words, chances, strict=True)},
        "confidence": rounded(chances[best]),
    }


def distortions(evaluator: Evaluator, session: Session, subjects: Sequence[Subject]) -> list[list[Fault]]:
    """What each whole image suffers from, most likely first; empty if it is clean."""
    vocabulary = evaluator.engine.vocabulary
    candidates = vocabulary.names
    logs = session.choose([Prompt(item, identify.plain_question(1)) for item in range(len(subjects))], candidates)
    listed = []
    raw, chances = np.exp(logs), _each(evaluator, "identify", logs)
    for item, subject in enumerate(subjects):
        if subject.mosaic:
            raw[item] = subject.mosaic.pooled(np.exp(subject.mosaic.identify))
            chances[item] = subject.mosaic.pooled(_each(evaluator, "identify", subject.mosaic.identify))
    for item, row in enumerate(chances):
        if candidates[int(row.argmax())] != grammar.CLEAN:
            listed += [
                (item, int(at))
                for at in np.argsort(-row)
                if candidates[at] != grammar.CLEAN and (row[at] >= NAMED or at == row.argmax())
            ]
    views = _Views(evaluator.engine, session)
    prompts = {}
    for at in listed:
        mosaic = subjects[at[0]].mosaic
        prompts[at] = views.see(at[0], subjects[at[0]], [mosaic.best(at[1])] if mosaic else None)[0]
    severities: dict[tuple[int, int], np.ndarray] = {}
    for category in sorted({at[1] for at in listed}):
        some = [at for at in listed if at[1] == category]
        steps = views.choose(
            [(prompts[at], identify.POOL[0]) for at in some],
            [f" {severity} {candidates[category]}" for severity in vocabulary.severities],
            "The image shows",
            ended=False,
        )
        severities |= dict(zip(some, np.exp(steps), strict=True))
    faults: list[list[Fault]] = [[] for _ in subjects]
    for item, choice in listed:
        steps, sure = severities[item, choice], float(chances[item, choice])
        faults[item].append(_fault(vocabulary, candidates[choice], steps, float(raw[item, choice]), sure))
    return faults


def places(
    evaluator: Evaluator, session: Session, subjects: Sequence[Subject], faults: Sequence[Sequence[Fault]]
) -> list[list[RegionPrompt]]:
    """Where each image suffers: the worst place, and the worst of every distortion listed when there are several; a place in
    several parts is several. Images without distortions have none.
    """
    targets = [
        (item, kind)
        for item, listed in enumerate(faults)
        if listed
        for kind in ("worst", *(f"worst_{fault['category']}" for fault in listed if len(listed) > 1))
    ]
    wanted: list[list[RegionPrompt]] = [[] for _ in subjects]
    if not targets:
        return wanted
    vocabulary = evaluator.engine.vocabulary
    questions = [ground.plain_question(kind, vocabulary.phrase) for _, kind in targets]
    answers = session.spatial([Prompt(item, question) for (item, _), question in zip(targets, questions, strict=True)])
    kept: dict[int, list[np.ndarray]] = {}
    for (item, _), question, (spatial, label) in zip(targets, questions, answers, strict=True):
        subject = subjects[item]
        if subject.mosaic and subject.mosaic.lens:
            spatial = replace(spatial, visual=subject.mosaic.lens.map(0, question))
        working = shrunk(subject.pixels)
        place = evaluator.ground(working, spatial)
        for number, part in enumerate(parts(place)):
            masks = kept.setdefault(item, [])
            if (
                len(masks) == MOST_REGIONS
                or (masks and part.mask.mean() < LEAST_AREA)
                or any(_overlap(part.mask, mask) > SAME for mask in masks)
            ):
                continue
            masks.append(part.mask)
            wanted[item].append(in_original(subject.pixels, working, part, label if number == 0 else None, vocabulary.grid))
    return wanted


def regions(
    evaluator: Evaluator,
    session: Session,
    subjects: Sequence[Subject],
    wanted: Sequence[Sequence[RegionPrompt]],
    given: bool = False,
) -> list[list[Region]]:
    """What is wrong with each region, its score, and how sure we are. A place the model found beside its first, and then calls
    clear, is left out; a region that a person gave stays.
    """
    vocabulary = evaluator.engine.vocabulary
    views = _Views(evaluator.engine, session)
    jobs = [(item, where) for item, several in enumerate(wanted) for where in several]
    whole: list[tuple[tiles.Part | None, float]] = [(None, 1.0)]
    seen = []  # (job, view, weight, the region's name in that view)
    for number, (item, where) in enumerate(jobs):
        pixels, budget = subjects[item].pixels, evaluator.engine.budget
        large = tiles.is_large(pixels.shape[0], pixels.shape[1], budget)
        spots = tiles.crops(pixels, where.box, where.mask, budget) if large else None
        handles = views.see(item, subjects[item], [part for part, _ in spots] if spots else None)
        for handle, (part, weight) in zip(handles, whole if spots is None else spots, strict=True):
            inside = where.within(part) if part else where
            size = (part.width, part.height) if part else pixels.shape[1::-1]
            seen.append((number, handle, weight, inside.named(*size)))
    out: list[list[Region]] = [[] for _ in subjects]
    if not seen:
        return out
    faults = np.exp(
        views.choose([(handle, refer.SHORT[0].format(region=name)) for _, handle, _, name in seen], vocabulary.regions)
    )
    ratings = np.exp(views.choose([(handle, REGION[0].format(region=name)) for _, handle, _, name in seen], vocabulary.ratings))
    for number, (item, where) in enumerate(jobs):
        rows = [at for at, (job, *_) in enumerate(seen) if job == number]
        weights = np.array([seen[at][2] for at in rows])
        chances, words = (np.average(table[rows], axis=0, weights=weights) for table in (faults, ratings))
        by_phrase = chances[:-1].reshape(len(vocabulary.ids), len(vocabulary.severities))
        raw = vocabulary.by_category(np.log(np.maximum(chances, 1e-12)))
        sure = evaluator.probabilities("refer", raw)
        listed = [
            _fault(vocabulary, phrase, by_phrase[row], np.exp(raw[row]), sure[row])
            for row, phrase in enumerate(vocabulary.phrases)
            if sure[row] >= max(NAMED, sure[-1])
        ]
        if not listed and not given and out[item]:
            continue
        listed.sort(key=lambda fault: -fault["confidence"])
        out[item].append(
            {
                "label": where.label,
                "box_xyxy": [float(edge) for edge in where.box],
                "cells": [int(c) for c in where.cells],
                "points": [[float(x), float(y)] for x, y in where.points],
                "mask_rle": encode_mask(where.mask),
                "distortions": listed,
                "score": rated(evaluator, evaluator.probabilities("score", np.log(np.maximum(words, 1e-12)))),
                "confidence": rounded(where.confidence if where.confidence is not None else sure.max()),
            }
        )
    return out


class _Views:
    """What is looked at: subjects of a session, and crops of large ones, which get a session of their own when first asked."""

    def __init__(self, engine: Engine, session: Session) -> None:
        self.engine, self.session = engine, session
        self.crops: list[np.ndarray] = []
        self.cropped: Session | None = None

    def see(self, item: int, subject: Subject, crops: Sequence[tiles.Part] | None) -> list[tuple[bool, int]]:
        """Handles of a subject, or of crops of it."""
        if crops is None:
            return [(False, item)]
        self.crops += [part.of(subject.pixels) for part in crops]
        return [(True, len(self.crops) - len(crops) + at) for at in range(len(crops))]

    def choose(
        self, prompts: Sequence[tuple[tuple[bool, int], str]], candidates: Sequence[str], begun: str = "", ended: bool = True
    ) -> np.ndarray:
        """Log-probabilities (prompts, candidates), as `engine.Session.choose` gives them."""
        out = np.zeros((len(prompts), len(candidates)))
        for cropped in (False, True):
            rows = [at for at, ((kind, _), _) in enumerate(prompts) if kind == cropped]
            if rows:
                session = self._of_crops() if cropped else self.session
                begun_ids = self.engine.ids(begun) if begun else []
                out[rows] = session.choose(
                    [Prompt(prompts[at][0][1], prompts[at][1], list(begun_ids)) for at in rows], candidates, ended
                )
        return out

    def _of_crops(self) -> Session:
        if self.cropped is None:
            self.cropped = self.engine.session([[crop] for crop in self.crops], [["image"]] * len(self.crops))
        return self.cropped


def _each(evaluator: Evaluator, kind: str, logs: np.ndarray) -> np.ndarray:
    """Calibrated chances (n, k) of log-probabilities (n, k)."""
    return np.stack([evaluator.probabilities(kind, row) for row in logs])


def shrunk(pixels: np.ndarray) -> np.ndarray:
    """At most `WORKING_SIDE` on the long side."""
    import cv2

    scale = WORKING_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def in_original(pixels: np.ndarray, working: np.ndarray, place: Grounding, label: str | None, grid: int) -> RegionPrompt:
    """A place found in a working copy, in pixels of the original."""
    import cv2

    scale = pixels.shape[1] / working.shape[1], pixels.shape[0] / working.shape[0]
    mask = cv2.resize(place.mask.astype(np.uint8), pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    box = mask_box(mask)  # of the mask that is shown: the answer's own box may lie elsewhere
    # cut, not rounded: a point on the last pixel stays on the image
    points = [(int(x * scale[0] * 10) / 10, int(y * scale[1] * 10) / 10) for x, y in place.points]
    name = grammar.WHOLE if mask.all() else label or f"{colour(working[place.mask])} region"
    return RegionPrompt(name, box, mask, points, grid, place.confidence)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return int(np.count_nonzero(a & b)) / max(int(np.count_nonzero(a | b)), 1)


def _fault(vocabulary: Vocabulary, phrase: str, steps: np.ndarray, probability: float, confidence: float) -> Fault:
    """A distortion that is listed; `steps` are the chances of the severities, and `level` their expectation, from 1 on."""
    shares = steps / steps.sum()
    return {
        "category": vocabulary.phrases[phrase],
        "phrase": phrase,
        "severity": vocabulary.severities[int(shares.argmax())],
        "level": rounded(float(np.dot(shares, range(1, len(vocabulary.severities) + 1))), 2),
        "probability": rounded(probability),
        "confidence": rounded(confidence),
    }


def rounded(value: float, digits: int = 4) -> float:
    return round(float(value), digits)

"""What a model finds in images: score, distortions, places and what is wrong there. Every step asks all images at once.

Steps take the loaded `judge` (assessor), a session that holds the subjects in order, and the subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from iqaflow.data.masks import encode_mask
from iqaflow.engine.session import Prompt
from iqaflow.grounding.ground import Grounding, mask_box, parts
from iqaflow.infer import tiles
from iqaflow.infer.picture import Subject
from iqaflow.infer.regions import Asked
from iqaflow.regions import colour
from iqaflow.tasks import grammar, ground, identify, refer
from iqaflow.tasks import score as rating

NAMED = 0.2  # least calibrated probability of a distortion that is listed
WORKING_SIDE = 640  # regions are found at this long side, then given in pixels of the original
MOST_REGIONS = 6
SAME = 0.5  # places that overlap by more (IoU) are one
LEAST_AREA = 0.004  # smaller parts of a place are specks


def scores(judge: Any, session: Any, subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """`{value, level, distribution, confidence}` of each image."""
    logs = session.choose([Prompt(item, rating.asked()) for item in range(len(subjects))], judge.engine.vocabulary.ratings)
    out = []
    for subject, one in zip(subjects, logs, strict=True):
        tiled = subject.mosaic
        chances = tiled.mean(_each(judge, "score", tiled.ratings)) if tiled else judge.probabilities("score", one)
        out.append(rated(judge, chances))
    return out


def rated(judge: Any, chances: np.ndarray) -> dict[str, Any]:
    """The entry `score` of a result from the calibrated chances of the rating words: `value` their expectation, `level` the
    likeliest one, `confidence` its chance.
    """
    words, best = judge.engine.vocabulary.ratings, int(chances.argmax())
    return {
        "value": rounded(judge.expected_score(chances)),
        "level": words[best],
        "distribution": {name: rounded(chance) for name, chance in zip(words, chances, strict=True)},
        "confidence": rounded(chances[best]),
    }


def distortions(judge: Any, session: Any, subjects: Sequence[Subject]) -> list[list[dict[str, Any]]]:
    """What each whole image suffers from, most likely first; empty if it is clean."""
    vocabulary = judge.engine.vocabulary
    candidates = vocabulary.names
    logs = session.choose([Prompt(item, identify.asked(1)) for item in range(len(subjects))], candidates)
    listed = []
    raw, chances = np.exp(logs), _each(judge, "identify", logs)
    for item, subject in enumerate(subjects):
        if subject.mosaic:
            raw[item] = subject.mosaic.pooled(np.exp(subject.mosaic.identify))
            chances[item] = subject.mosaic.pooled(_each(judge, "identify", subject.mosaic.identify))
    for item, row in enumerate(chances):
        if candidates[int(row.argmax())] != grammar.CLEAN:
            listed += [
                (item, int(at))
                for at in np.argsort(-row)
                if candidates[at] != grammar.CLEAN and (row[at] >= NAMED or at == row.argmax())
            ]
    views = _Views(judge.engine, session)
    prompts = {
        at: views.see(at[0], subjects[at[0]], [subjects[at[0]].mosaic.best(at[1])] if subjects[at[0]].mosaic else None)[0]
        for at in listed
    }
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
    found: list[list[dict[str, Any]]] = [[] for _ in subjects]
    for item, at in listed:
        found[item].append(
            {
                "category": vocabulary.phrases[candidates[at]],
                "phrase": candidates[at],
                **_severity(severities[item, at], vocabulary.severities),
                "probability": rounded(raw[item, at]),
                "confidence": rounded(chances[item, at]),
            }
        )
    return found


def places(judge: Any, session: Any, subjects: Sequence[Subject], found: Sequence[Sequence[dict[str, Any]]]) -> list[list[Asked]]:
    """Where each image suffers: the worst place, and the worst of every distortion listed when there are several; a place in
    several parts is several. Images without distortions have none.
    """
    asked = [
        (item, kind)
        for item, listed in enumerate(found)
        if listed
        for kind in ("worst", *(f"worst_{one['category']}" for one in listed if len(listed) > 1))
    ]
    wanted: list[list[Asked]] = [[] for _ in subjects]
    if not asked:
        return wanted
    vocabulary = judge.engine.vocabulary
    questions = [ground.asked(kind, vocabulary.phrase) for _, kind in asked]
    answers = session.spatial([Prompt(item, question) for (item, _), question in zip(asked, questions, strict=True)])
    kept: dict[int, list[np.ndarray]] = {}
    for (item, _), question, (spatial, label) in zip(asked, questions, answers, strict=True):
        subject = subjects[item]
        if subject.mosaic and subject.mosaic.lens:
            spatial = replace(spatial, visual=subject.mosaic.lens.map(0, question))
        working = shrunk(subject.pixels)
        place = judge.ground(working, spatial)
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
    judge: Any, session: Any, subjects: Sequence[Subject], wanted: Sequence[Sequence[Asked]], given: bool = False
) -> list[list[dict[str, Any]]]:
    """What is wrong with each region, its score, and how sure we are. A place the model found beside its first, and then calls
    clear, is left out; a region that a person gave stays.
    """
    vocabulary = judge.engine.vocabulary
    views = _Views(judge.engine, session)
    jobs = [(item, where) for item, several in enumerate(wanted) for where in several]
    seen = []  # (job, view, weight, the region's name in that view)
    for number, (item, where) in enumerate(jobs):
        pixels, budget = subjects[item].pixels, judge.engine.budget
        large = tiles.is_large(*pixels.shape[:2], budget)
        spots = tiles.crops(pixels, where.box, where.mask, budget) if large else None
        handles = views.see(item, subjects[item], [part for part, _ in spots] if spots else None)
        for handle, (part, weight) in zip(handles, spots or [(None, 1.0)], strict=True):
            inside = where.within(part) if part else where
            size = (part.width, part.height) if part else pixels.shape[1::-1]
            seen.append((number, handle, weight, inside.named(*size)))
    out: list[list[dict[str, Any]]] = [[] for _ in subjects]
    if not seen:
        return out
    faults = np.exp(
        views.choose([(handle, refer.SHORT[0].format(region=name)) for _, handle, _, name in seen], vocabulary.regions)
    )
    ratings = np.exp(
        views.choose([(handle, rating.REGION[0].format(region=name)) for _, handle, _, name in seen], vocabulary.ratings)
    )
    for number, (item, where) in enumerate(jobs):
        rows = [at for at, one in enumerate(seen) if one[0] == number]
        weights = np.array([seen[at][2] for at in rows])
        chances, words = (np.average(table[rows], axis=0, weights=weights) for table in (faults, ratings))
        by_phrase = chances[:-1].reshape(len(vocabulary.ids), len(vocabulary.severities))
        raw = vocabulary.by_category(np.log(np.maximum(chances, 1e-12)))
        sure = judge.probabilities("refer", raw)
        listed = [
            {
                "category": category,
                "phrase": phrase,
                **_severity(by_phrase[row], vocabulary.severities),
                "probability": rounded(np.exp(raw[row])),
                "confidence": rounded(sure[row]),
            }
            for row, (phrase, category) in enumerate(vocabulary.phrases.items())
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
                "score": rated(judge, judge.probabilities("score", np.log(np.maximum(words, 1e-12)))),
                "confidence": rounded(where.confidence if where.confidence is not None else sure.max()),
            }
        )
    return out


class _Views:
    """What is looked at: subjects of a session, and crops of large ones, which get a session of their own when first asked."""

    def __init__(self, engine: Any, session: Any) -> None:
        self.engine, self.session, self.crops, self.cropped = engine, session, [], None

    def see(self, item: int, subject: Subject, crops: Sequence[tiles.Part] | None) -> list[tuple[bool, int]]:
        """Handles of a subject, or of crops of it."""
        if crops is None:
            return [(False, item)]
        self.crops += [part.of(subject.pixels) for part in crops]
        return [(True, len(self.crops) - len(crops) + at) for at in range(len(crops))]

    def choose(
        self, asked: Sequence[tuple[tuple[bool, int], str]], candidates: Sequence[str], said: str = "", ended: bool = True
    ) -> np.ndarray:
        """Log-probabilities (asked, candidates), as `engine.Session.choose` gives them."""
        out = np.zeros((len(asked), len(candidates)))
        for cropped in (False, True):
            rows = [at for at, ((kind, _), _) in enumerate(asked) if kind == cropped]
            if rows:
                if cropped and self.cropped is None:
                    self.cropped = self.engine.session([[crop] for crop in self.crops], [["image"]] * len(self.crops))
                session = self.cropped if cropped else self.session
                said_ids = self.engine.ids(said) if said else []
                out[rows] = session.choose(
                    [Prompt(asked[at][0][1], asked[at][1], list(said_ids)) for at in rows], candidates, ended
                )
        return out


def _each(judge: Any, kind: str, logs: np.ndarray) -> np.ndarray:
    """Calibrated chances (n, k) of log-probabilities (n, k)."""
    return np.stack([judge.probabilities(kind, one) for one in logs])


def shrunk(pixels: np.ndarray) -> np.ndarray:
    """At most `WORKING_SIDE` on the long side."""
    import cv2

    scale = WORKING_SIDE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def in_original(pixels: np.ndarray, working: np.ndarray, place: Grounding, label: str | None, grid: int) -> Asked:
    """A place found in a working copy, in pixels of the original."""
    import cv2

    scale = pixels.shape[1] / working.shape[1], pixels.shape[0] / working.shape[0]
    mask = cv2.resize(place.mask.astype(np.uint8), pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    box = mask_box(mask)  # of the mask that is shown: the answer's own box may lie elsewhere
    # cut, not rounded: a point on the last pixel stays on the image
    points = [tuple(int(value * scale[axis] * 10) / 10 for axis, value in enumerate(point)) for point in place.points]
    name = grammar.WHOLE if mask.all() else label or f"{colour(working[place.mask])} region"
    return Asked(name, box, mask, points, grid, place.confidence)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1)


def _severity(chances: np.ndarray, words: Sequence[str]) -> dict[str, Any]:
    """Severity word and expected level, from 1 on, from the chances of the words."""
    shares = chances / chances.sum()
    return {"severity": words[int(shares.argmax())], "level": rounded(float(np.dot(shares, range(1, len(words) + 1))), 2)}


def rounded(value: float, digits: int = 4) -> float:
    return round(float(value), digits)

"""Classic natural scene statistics (see `scene_statistics`) with models fitted on the train split: a classifier names
the distortion, a regression scores, and the better score wins a pair.

`nss` is linear and learns from whole-image distortions, where it is strongest. `nss_boosted` is gradient-boosted trees
on everything; to it a distortion of a part is a class of its own, folded into its category for the answer.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from iqaflow.benchmark.baselines import Answers, Questions, Row, answer, baseline
from iqaflow.distortions import phrase
from iqaflow.tasks.grading.answers import NONE

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

PART = "@part"  # ends the class name of a distortion that lies in a part of the image
MIN_FIT = 20  # images; fewer teach nothing


@baseline("nss", "natural scene statistics (36 as in BRISQUE, 14 of colour and flatness) with linear models")
def nss(questions: Questions) -> Answers:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer, StandardScaler

    train = questions.split("train")
    named = [row for row in train if (kind := _kind(row)) and not kind.endswith(PART)]
    # quantiles, since many features have long tails
    classifier = make_pipeline(
        QuantileTransformer(n_quantiles=max(1, min(200, len(named))), output_distribution="normal", subsample=None),
        LogisticRegression(C=0.3, max_iter=1000),
    )
    yield from _identify(questions, named, classifier)
    yield from _score(questions, train, make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-2, 4, 13))))


@baseline("nss_boosted", "the same statistics with gradient-boosted trees")
def nss_boosted(questions: Questions) -> Answers:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    train = questions.split("train")
    classifier = HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=0)
    regressor = HistGradientBoostingRegressor(max_iter=100, early_stopping=False, random_state=0)
    yield from _identify(questions, [row for row in train if _kind(row)], classifier)
    yield from _score(questions, train, regressor)


def _kind(row: Row) -> str | None:
    """The class of a train image: its one category, `none` if clean, None if there are several categories."""
    names = {entry["category"] for entry in row["distortions"]}
    if len(names) > 1:
        return None
    return next(iter(names), NONE) + (PART if any(e["region_id"] is not None for e in row["distortions"]) else "")


def _identify(questions: Questions, train: list[Row], model: BaseEstimator) -> Answers:
    kinds = [_kind(row) for row in train]
    if len(train) < MIN_FIT or len(set(kinds)) < 2:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a tiny train split has nearly as many classes as images
        model.fit(np.stack([questions.features(row) for row in train]), kinds)
    names = sorted({kind.removesuffix(PART) for kind in model.classes_})
    fold = np.array([[kind.removesuffix(PART) == name for name in names] for kind in model.classes_], dtype=float)
    pairs = list(questions.of("identify"))
    if not pairs:
        return
    matrix = model.predict_proba(np.stack([questions.features(image) for _, image in pairs])) @ fold
    for (item, _), chances in zip(pairs, matrix, strict=True):
        order = np.argsort(-chances, kind="stable")
        order = np.array([index for index in order if names[index] != NONE][:2]) if questions.two(item) else order[:1]
        text = " and ".join(names[i] if names[i] == NONE else phrase(names[i]) for i in order)
        yield answer(item, text, confidence=float(np.mean(chances[order])))


def _score(questions: Questions, train: list[Row], model: Any) -> Answers:
    train = [row for row in train if row["score"] is not None and np.isfinite(row["score"])]
    if len(train) < MIN_FIT:
        return
    model.fit(np.stack([questions.features(row) for row in train]), [row["score"] for row in train])

    rows = list(questions.images.values())
    predicted = model.predict(np.stack([questions.features(row) for row in rows]))
    score = {row["image_id"]: float(value) for row, value in zip(rows, predicted, strict=True)}
    for item, image in questions.of("score"):
        yield answer(item, value=min(1.0, max(0.0, score[image["image_id"]])))
    for item, _ in questions.of("rate"):
        pair = questions.partners(item)
        a, b = score[pair["A"]["image_id"]], score[pair["B"]["image_id"]]
        yield answer(item, "Image A" if a >= b else "Image B")

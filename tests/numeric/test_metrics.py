"""Metrics, intervals and scene statistics against hand-worked cases, other libraries and known laws."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from iqaflow.benchmark import compare, metrics, stats
from iqaflow.benchmark.baselines.full_reference import CAP_DB, fit_logistic, psnr_db, ssim_index
from iqaflow.benchmark.baselines.position import centre_box, iou
from iqaflow.benchmark.items import schema
from iqaflow.benchmark.metrics.confidence import bin_of
from iqaflow.benchmark.metrics.correlation import pearson, spearman
from iqaflow.core.config import load
from iqaflow.iqa import scene_statistics
from iqaflow.report.plots import mean_interval, wilson


def rows(family: str, **columns) -> pd.DataFrame:
    """Item rows of one predictor; columns not given are empty."""
    count = len(next(iter(columns.values())))
    plain = {
        "predictor": "model",
        "family": family,
        "item_id": [f"i{k}" for k in range(count)],
        "source_id": "photo",
        "cell": "x",
        "target": "",
        "prediction": "",
    }
    frame = pd.DataFrame({**{name: [np.nan] * count for name in schema().names}, **plain, **columns})
    return frame[schema().names]


def test_accuracy_counts_cells_and_gives_partial_credit():
    frame = rows(
        "identify",
        cell=["single_nr", "clean_nr", "single_fr", "two_nr"],
        value=[1.0, 0.0, 1.0, 0.5],
        target=["blur", "none", "blur", "blur and noise"],
        prediction=["blur", "noise", "blur", "blur"],
    )
    assert metrics.compute(frame, "accuracy") == pytest.approx(2.5 / 4)
    assert metrics.compute(frame, "accuracy_single_nr") == pytest.approx(0.5)  # single and clean, no reference
    assert metrics.compute(frame, "accuracy_two_nr") == 0.5
    assert metrics.compute(frame, "false_alarm_nr") == 1.0
    assert np.isnan(metrics.compute(frame, "accuracy_two_fr"))


def test_grounding_leaves_whole_image_items_out():
    frame = rows(
        "ground",
        cell=["hyd", "sid", "whole"],
        value=[0.2, 0.6, 1.0],
        hit=[0.0, 1.0, 1.0],
        prediction=["whole image", "top left", "whole image"],
    )
    assert metrics.compute(frame, "miou") == pytest.approx(0.4)
    assert metrics.compute(frame, "miou_sid") == pytest.approx(0.6)
    assert metrics.compute(frame, "hit_rate") == 0.5
    assert metrics.compute(frame, "whole_image_on_local") == 0.5
    assert metrics.compute(frame, "whole_image_on_whole") == 1.0


def test_refer_splits_faulty_clear_and_severity():
    frame = rows(
        "refer",
        value=[1.0, 0.0, 1.0],
        target=["serious blur", "slight noise", "none"],
        prediction=["slight blur", "slight blur", "none"],
    )
    assert metrics.compute(frame, "accuracy_faulty") == 0.5
    assert metrics.compute(frame, "accuracy_clear") == 1.0
    assert metrics.compute(frame, "accuracy_severity") == 0.0  # one category right, its severity wrong


def test_ece_by_hand():
    # bin (.8, .9]: confidence .9, .9, right 1 of 2, gap .4, weight 2/3; bin (.1, .2]: .2 and right, gap .8, weight 1/3
    frame = rows("vqa", confidence=[0.9, 0.9, 0.2], value=[1.0, 0.0, 1.0])
    assert metrics.compute(frame, "ece") == pytest.approx(0.4 * 2 / 3 + 0.8 / 3)
    assert bin_of(np.array([0.0, 0.1, 0.100001, 1.0])).tolist() == [0, 0, 1, 9]


def test_correlations_match_scipy_on_resamples_with_ties():
    rng = np.random.default_rng(3)
    columns = np.stack([rng.integers(0, 8, 60), rng.normal(size=60)], axis=1).astype(float)
    columns[:, 1] += columns[:, 0]
    draws = rng.multinomial(60, np.full(60, 1 / 60), size=20)
    for reduce, reference in ((spearman, scipy_stats.spearmanr), (pearson, scipy_stats.pearsonr)):
        expected = [reference(*np.repeat(columns, draw, axis=0).T)[0] for draw in draws]
        np.testing.assert_allclose(reduce(columns, draws.astype(float)), expected, atol=1e-10)


def test_a_constant_prediction_has_no_correlation():
    frame = rows("score", target_value=[0.1, 0.5, 0.9], value=[0.4, 0.4, 0.4])
    assert np.isnan(metrics.compute(frame, "srcc"))
    assert "srcc" not in metrics.table(frame, load())["score"]


def test_bleu_equals_sacrebleu_and_ignores_coordinates():
    from sacrebleu import corpus_bleu

    target = [
        "the [grey region](<0, 21>) shows serious blur over the whole sky",
        "no distortion at all in this image, it is clear",
    ]
    said = ["the [grey region](<3, 80>) shows slight blur over the sky", "no distortion in this image, it is clear"]
    plain = [[text.replace("[", "").replace("](<0, 21>)", "") for text in target]]
    expected = corpus_bleu([text.replace("[", "").replace("](<3, 80>)", "") for text in said], plain).score
    assert metrics.compute(rows("describe", target=target, prediction=said), "bleu4") == pytest.approx(expected)
    assert metrics.compute(rows("describe", target=target, prediction=target), "bleu4") == pytest.approx(100)


def test_boxes_of_a_description():
    # cells 0..21 are a 2 x 2 cell box, 0..20 its left half: IoU .5 is not above .5
    frame = rows(
        "describe",
        target=["[sky](<0, 21>) and [grass](<378, 399>)", "nothing boxed"],
        prediction=["[sky](<0, 20>) and [lawn](<378, 399>)", "[sky](<0, 1>)"],
    )
    assert metrics.compute(frame, "miou") == pytest.approx((0.5 + 1.0) / 2)
    assert metrics.compute(frame, "tag_recall") == 0.0  # one box overlaps too little, the other has the wrong name


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        hits = (rng.random((150, 1)) < 0.7).astype(float)
        low, high = stats.interval(stats.values(metrics.mean, hits, 300, seed=trial))
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 300 <= 0.985


def test_photographs_that_differ_widen_the_interval():
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 50)[:, None]
    groups = np.repeat(list("abcd"), 50)
    items = stats.interval(stats.values(metrics.mean, values, 500, 0))
    photographs = stats.interval(stats.values(metrics.mean, values, 500, 0, groups))
    assert photographs[1] - photographs[0] > 3 * (items[1] - items[0])


def test_paired_difference_is_positive_where_the_new_model_is_better():
    old = rows("identify", cell=["clean_nr"] * 40, target=["none"] * 40, prediction=["blur"] * 30 + ["none"] * 10)
    new = old.assign(prediction=["none"] * 40)
    found = compare.paired_difference(new, old, "false_alarm_nr", 200, 0)  # lower is better
    assert found["difference"] == 0.75
    assert found["ci95"][0] > 0
    assert found["n"] == 40
    assert compare.paired_difference(new, old.assign(item_id="other"), "false_alarm_nr", 200, 0)["n"] == 0


def test_table_is_seeded_fast_and_bounded():
    rng = np.random.default_rng(0)
    truth = rng.random(800)
    frame = rows("score", target_value=truth, value=truth + rng.normal(0, 0.2, 800), source_id=[f"p{k % 7}" for k in range(800)])
    started = time.process_time()
    first = metrics.table(frame, load())["score"]["srcc"]
    assert time.process_time() - started < 5
    assert first == metrics.table(frame, load())["score"]["srcc"]
    assert first["n"] == 800
    assert first["ci95"][0] < first["value"] < first["ci95"][1]
    assert metrics.table(frame.assign(source_id="one"), load())["score"]["srcc"]["ci95_photos"] is None


def test_wilson_matches_a_published_case():
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)  # Newcombe 1998, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert mean_interval(np.array([1.0] * 81 + [0.0] * 182)) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert mean_interval(np.array([0.4, 0.6])) == pytest.approx((0.304, 0.696), abs=1e-3)


@pytest.mark.parametrize(("law", "shape"), [("normal", 2.0), ("laplace", 1.0)])
def test_symmetric_fit_recovers_shapes(law, shape):
    x = getattr(np.random.default_rng(0), law)(size=200_000)
    assert scene_statistics.symmetric_fit(x) == pytest.approx((shape, np.var(x)), rel=0.02)


def test_asymmetric_fit_recovers_both_sides():
    rng = np.random.default_rng(0)
    # a Gaussian with sigma 1 to the left and 3 to the right: sides are drawn in proportion to their sigmas
    right = rng.random(400_000) < 0.75
    x = np.where(right, 3, -1) * np.abs(rng.normal(size=400_000))
    shape, mean, left_variance, right_variance = scene_statistics.asymmetric_fit(x)
    assert shape == pytest.approx(2.0, rel=0.02)
    assert (left_variance, right_variance) == pytest.approx((1.0, 9.0), rel=0.02)
    assert mean == pytest.approx(x.mean(), rel=0.02)


def test_mscn_follows_its_definition():
    from scipy.ndimage import correlate

    grey = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(float)
    window = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    window = np.outer(window, window) / np.outer(window, window).sum()
    mean = correlate(grey, window, mode="mirror")
    spread = np.sqrt(np.abs(correlate(grey**2, window, mode="mirror") - mean**2))
    np.testing.assert_allclose(scene_statistics.mscn(grey), (grey - mean) / (spread + 1), atol=2e-3)


def test_scene_statistics_react_as_known():
    rng = np.random.default_rng(0)
    noise = np.clip(128 + 30 * rng.normal(size=(96, 112, 3)), 0, 255).astype(np.uint8)
    flat = np.full((96, 112, 3), 128, np.uint8)
    values = scene_statistics.features(noise)
    assert values.shape == (scene_statistics.COUNT,)
    assert np.isfinite(values).all()
    assert np.isfinite(scene_statistics.features(flat)).all()
    # white noise, divided by the deviation of its own few neighbours, is a little flatter than a Gaussian (shape 2)
    assert 2 < values[0] < 4
    assert -0.2 < values[3] < 0  # taking out the local mean leaves neighbours slightly opposed
    assert scene_statistics.features(flat)[46] == 1.0  # every neighbour is equal


def test_full_reference_measures():
    rng = np.random.default_rng(0)
    image = rng.integers(40, 200, (48, 64, 3)).astype(np.uint8)
    assert psnr_db(image, image) == CAP_DB
    assert psnr_db(image + 5, image) == pytest.approx(20 * np.log10(255 / 5))
    assert ssim_index(image, image) == pytest.approx(1.0)
    assert ssim_index(image[::-1].copy(), image) < 0.3
    x = np.linspace(10, 60, 50)
    curve = fit_logistic(x, 1 / (1 + np.exp(-(x - 30) / 5)))
    assert curve(30) == pytest.approx(0.5, abs=0.02)
    assert curve(20) < curve(21)


def test_centre_box_and_iou():
    box = centre_box((10, 20), 0.6, 0.5)
    assert box.sum() == 6 * 10
    assert iou(box, np.ones((10, 20), bool)) == 60 / 200
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1.0

"""`psnr` and `ssim`: classic full-reference metrics. They see the undistorted image, which a no-reference model does
not, so on no-reference questions they are a yardstick, not a rival.

A logistic curve fitted on the train split maps their scale to 0..1; it is monotone, so SRCC and pairs are untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from iqaflow.benchmark.baselines import Answers, Questions, Row, answer, baseline
from iqaflow.benchmark.items import Answer

CAP_DB = 60.0  # PSNR of equal images is infinite; errors under a quarter of a grey level are not told apart
FIT_IMAGES = 400


def psnr_db(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio of uint8 images in dB, at most `CAP_DB`."""
    error = float(np.mean((image.astype(np.float64) - reference) ** 2))
    return CAP_DB if error == 0 else min(CAP_DB, 10 * np.log10(255.0**2 / error))


def ssim_index(image: np.ndarray, reference: np.ndarray) -> float:
    """SSIM of luminance as in Wang et al. 2004 (Gaussian window, sigma 1.5)."""
    import cv2
    from skimage import metrics

    grey = [cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) for pixels in (image, reference)]
    structural_similarity: Any = metrics.structural_similarity
    return float(structural_similarity(*grey, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255))


@baseline("psnr", "full reference: peak signal-to-noise ratio to the undistorted image", sees_reference=True)
def psnr(questions: Questions) -> Answers:
    return _answers(questions, "psnr", psnr_db)


@baseline("ssim", "full reference: structural similarity of luminance to the undistorted image", sees_reference=True)
def ssim(questions: Questions) -> Answers:
    return _answers(questions, "ssim", ssim_index)


def _answers(questions: Questions, name: str, measure: Callable[[np.ndarray, np.ndarray], float]) -> Iterator[Answer]:
    from iqaflow.data.images import decode

    def value(row: Row) -> float | None:
        if row["reference"] is None:
            return None
        return questions.remember((name, row["image_id"]), lambda: measure(decode(row["image"]), decode(row["reference"])))

    train = [row for row in questions.split("train") if row["reference"] is not None and row["score"] is not None]
    if not train:
        return
    train = train[:: max(1, len(train) // FIT_IMAGES)]
    curve = fit_logistic(np.array([value(row) for row in train]), np.array([row["score"] for row in train]))
    for item, image in questions.of("score"):
        if (x := value(image)) is not None:
            yield answer(item, value=float(curve(x)))
    for item, _ in questions.of("rate"):
        pair = questions.partners(item)
        a, b = value(pair["A"]), value(pair["B"])
        if a is not None and b is not None:
            yield answer(item, "Image A" if a >= b else "Image B")


def fit_logistic(x: np.ndarray, y: np.ndarray) -> Callable[[float], float]:
    """A rising logistic curve from `x` to `y` in 0..1 by least squares."""
    from scipy.optimize import least_squares

    middle, spread = float(np.median(x)), float(np.std(x)) or 1.0

    def curve(parameters: np.ndarray, values: np.ndarray | float) -> np.ndarray:
        low, height, centre, log_slope = parameters
        z = np.exp(log_slope) * (np.asarray(values) - middle) / spread - centre
        return low + height / (1 + np.exp(-np.clip(z, -50, 50)))

    fit = least_squares(lambda p: curve(p, x) - y, x0=[0.0, 1.0, 0.0, 0.5], bounds=([-1, 0.05, -20, -3], [1, 2, 20, 4]))
    return lambda values: float(curve(fit.x, values))

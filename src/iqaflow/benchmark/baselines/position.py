"""`centre` and `whole_image`: grounding without looking. The centre box has the one size, of a grid of sizes, that
covers the regions of the calibration split best.
"""

from __future__ import annotations

import numpy as np

from iqaflow.benchmark.baselines import Answers, Questions, Row, answer, baseline
from iqaflow.data.masks import decode_mask, iou
from iqaflow.tasks.grading.items import Question, subject
from iqaflow.tasks.grammar import WHOLE

SIDES = np.arange(0.2, 1.001, 0.1)  # of the image's height and width


def true_mask(conversation: Row, image: Row) -> np.ndarray | None:
    """Union of the regions a ground question is about, bool (H, W); None if it is about the whole image."""
    wanted = set(conversation["targets"]["region_ids"] or [])
    masks = [decode_mask(region["mask_rle"]) for region in image["regions"] if region["region_id"] in wanted]
    return np.logical_or.reduce(masks) if masks else None


def centre_box(shape: tuple[int, int], height: float, width: float) -> np.ndarray:
    """Bool mask of the box in the middle that takes these shares of the image's sides."""
    mask = np.zeros(shape, dtype=bool)
    top, left = round(shape[0] * (1 - height) / 2), round(shape[1] * (1 - width) / 2)
    mask[top : shape[0] - top, left : shape[1] - left] = True
    return mask


@baseline("centre", "a point in the middle of the image, and the middle box of the best fixed size")
def centre(questions: Questions) -> Answers:
    height, width = _best_size(questions)
    for item, image in questions.of("ground"):
        mask = _truth(questions, item, image)
        yield answer(item, "centre", iou(mask, centre_box(mask.shape, height, width)), hit=_middle(mask))


@baseline("whole_image", "the whole image as the answer; its point is the middle")
def whole_image(questions: Questions) -> Answers:
    for item, image in questions.of("ground"):
        mask = _truth(questions, item, image)
        yield answer(item, WHOLE, float(mask.mean()), hit=_middle(mask))


def _truth(questions: Questions, item: Question, image: Row) -> np.ndarray:
    """The mask an answer is measured by."""
    mask = true_mask(questions.conversations[item["item_id"]], image)
    return np.ones((image["height"], image["width"]), dtype=bool) if mask is None else mask


def _middle(mask: np.ndarray) -> float:
    return float(mask[mask.shape[0] // 2, mask.shape[1] // 2])


def _best_size(questions: Questions) -> tuple[float, float]:
    images = {row["image_id"]: row for row in questions.split("calibration")}
    masks = []
    for row in questions.dialogues("calibration"):
        mask = true_mask(row, subject(row, images)) if row["task"] == "ground" else None
        if mask is not None:
            masks.append(mask)
    sizes = [(height, width) for height in SIDES for width in SIDES]
    if not masks:
        return 0.6, 0.6
    return max(sizes, key=lambda size: float(np.mean([iou(mask, centre_box(mask.shape, *size)) for mask in masks])))

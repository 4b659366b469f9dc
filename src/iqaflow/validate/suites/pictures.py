"""The images table: photographs, rows, pixels, distortions and regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iqaflow.data.tables import ORIGINS, SPLITS
from iqaflow.validate.rules import above, among, between, counted, empty, equal, like, once

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

GIVEN = "Everything is given that a row of its origin must have (NaN is not given)."


def rules(phash_distance: int) -> dict[str, list[Expectation]]:
    return {
        "splits": [
            between("images", 1, None, "Every split has images."),
            between("conversations", 1, None, "Every split has conversations."),
        ],
        "photographs": _photographs(phash_distance),
        "images": [*_images(), *_pixels()],
        "distortions": _distortions(),
        "regions": _regions(),
    }


def _photographs(phash_distance: int) -> list[Expectation]:
    return [
        between("split_count", 1, 1, "Every photograph appears in one split only.", of=("splits", "datasets")),
        between(
            "byte_split_count",
            1,
            1,
            "The same photograph under two names is in one split only.",
            of=("splits_of_bytes", "datasets"),
        ),
        between("contents", 1, 1, "All images cut from one photograph agree on its hashes."),
        between(
            "nearest_distance",
            phash_distance + 1,
            None,
            of=("nearest_photograph", "splits"),
            says=f"No two photographs of different splits look alike (perceptual hash within {phash_distance} bits).",
        ),
    ]


def _images() -> list[Expectation]:
    return [
        empty("missing", GIVEN),
        once(("image_id",), "Every image id is given once."),
        among("origin", ORIGINS, "Every image's origin is one of the four."),
        among(
            "dataset_fits",
            [True],
            "The data set `synthetic` is that of synthetic images, and of no others.",
            of=("origin", "dataset"),
        ),
        among("split", SPLITS, "Every image is in one of the splits."),
        like("phash", r"^[0-9a-f]{16}$", "Every `phash` is a hex hash."),
        like("source_sha256", r"^[0-9a-f]{64}$", "Every `source_sha256` is a hex hash."),
        between("width", 32, None, "Every image is at least 32 px wide."),
        between("height", 32, None, "Every image is at least 32 px high."),
        between("score", 0, 1, "Every image's score lies in 0..1."),
        empty("score_fault", "A score that is given is a number and says where it comes from.", of=("score", "score_source")),
        empty("text_fault", "Ids, licences and origins are clean text: no markup, no control characters."),
    ]


def _pixels() -> list[Expectation]:
    from great_expectations.expectations.row_conditions import Column

    of_both = []
    for what in ("image", "reference"):
        of_both += [
            empty(f"{what}_fault", f"Every {what} decodes to its last byte."),
            among(f"{what}_mode", ["RGB"], f"Every {what} is stored as 8-bit RGB."),
            equal(f"{what}_width", "width", f"Every {what} is as wide as its row says."),
            equal(f"{what}_height", "height", f"Every {what} is as high as its row says."),
        ]
    return [
        *of_both,
        among(
            "reference_due", [False], "Synthetic images of the calibration and test splits have their reference.", of=("split",)
        ),
        empty("twin", "No image of another split has the very same bytes."),
        between(
            "changed",
            1,
            None,
            "A distortion of the whole image changes pixels of its reference.",
            when=Column("extent") == "global",
        ),
        between(
            "changed_outside",
            0,
            0,
            "Outside the masks of our own distortions no pixel differs from the reference; in a clean image none does.",
        ),
    ]


def _distortions() -> list[Expectation]:
    from iqaflow import distortions

    categories = sorted(distortions.categories())
    return [
        empty("missing", GIVEN),
        among("own_name", distortions.names(), "Every synthetic distortion is one the project knows."),
        among("category", categories, f"Every category is one of the {counted(len(categories))}."),
        equal("category", "category_of_name", "Every distortion is filed under its own category."),
        between("level", 1, 5, "Every level lies in 1..5."),
        among("severity", distortions.SEVERITIES, "Every severity is one of the five words."),
        between("order", 0, None, "The order of distortions counts from 0."),
        among("region_known", [True], "Every local distortion names a region of its image.", of=("region_id",)),
        once(("row_of_image", "order"), "Distortions of one image have different places in the order."),
    ]


def _regions() -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        empty("missing", GIVEN),
        once(("row_of_image", "region_id"), "Every region id is given once in its image."),
        empty(
            "label_fault", "Every phrase has words and is clean: no markup, no control characters, no instruction.", of=("label",)
        ),
        between("box_numbers", 4, 4, "Every box has four numbers."),
        between("x0", 0, None, "No box begins left of the image."),
        between("y0", 0, None, "No box begins above the image."),
        above("x1", "x0", "Every box has a width."),
        above("y1", "y0", "Every box has a height."),
        above("width", "x1", "No box ends right of the image.", or_equal=True),
        above("height", "y1", "No box ends below the image.", or_equal=True),
        gxe.ExpectColumnValuesToBeBetween(
            column="area",
            min_value=0,
            max_value=1,
            strict_min=True,
            description="Every region covers a part of the image: area in (0, 1].",
        ),
        between("score", 0, 1, "Every region's score lies in 0..1."),
        empty("mask_fault", "Every mask is a valid run-length code of the image's size, not empty."),
        between("area_error", 0, 0.5, "Every area is that of its mask."),
        between("box_error", 0, 0.5, "Every box is the tightest one around its mask."),
        between("changed_inside", 1, None, "A local distortion changes pixels inside its mask."),
    ]

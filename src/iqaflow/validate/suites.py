"""What must hold in the data, as Great Expectations suites, one per frame of frames.py, each with a plain sentence.

The sentence is what people read in the report and in the error; the expectation is what is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iqaflow.data.tables import SPLITS, TASKS
from iqaflow.validate.rules import above, among, between, equal, filled

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

LOOKS_LIKE = {"phash": r"^[0-9a-f]{16}$", "source_sha256": r"^[0-9a-f]{64}$"}
BALANCED_FROM = 500  # images from which every category must be learnable
TEXT = r"\S"  # holds more than white space


def layout() -> dict[str, list[Expectation]]:
    """What must hold before anything else can be looked at."""
    import great_expectations.expectations as gxe

    return {
        "columns": [gxe.ExpectColumnPairValuesToBeEqual(
            column_A="found", column_B="expected", description="Every column of both tables is there with its type.")],
        "tables": [between("rows", 1, None, "Both tables have rows.")],
    }


def content(images: int, phash_distance: int) -> dict[str, list[Expectation]]:
    """All suites, by frame. `images` is the number of images: class balance is asked of larger sets only."""
    from great_expectations.expectations.row_conditions import Column

    suites = {
        "splits": _splits(),
        "photographs": _photographs(phash_distance),
        "images": [*_images(), *_pixels()],
        "distortions": _distortions(),
        "regions": _regions(),
        "conversations": _conversations(),
        "turns": _turns(),
        "conversation_images": _conversation_images(),
        "answer_spans": _answer_spans(),
        "target_categories": _target_categories(),
        "target_levels": [*filled("level"), between("level", 1, 5, "Every target level lies in 1..5.")],
        "target_regions": _target_regions(),
        "target_boxes": _target_boxes(),
    }
    if images >= BALANCED_FROM:
        suites["categories"] = [
            between("train", 1, None, "Every category can be seen in training.", when=Column("category") != "none")
        ]
    return suites


def _splits() -> list[Expectation]:
    return [
        between("images", 1, None, "Every split has images."),
        between("conversations", 1, None, "Every split has conversations."),
    ]


def _photographs(phash_distance: int) -> list[Expectation]:
    return [
        between("split_count", 1, 1, "Every photograph appears in one split only.", of="splits"),
        between(
            "byte_split_count", 1, 1, "The same photograph under two names is in one split only.", of="splits_of_bytes"
        ),
        between("contents", 1, 1, "All images cut from one photograph agree on its hashes."),
        between(
            "nearest_distance",
            phash_distance + 1,
            None,
            of="nearest_photograph",
            says=f"No two photographs of different splits look alike (perceptual hash within {phash_distance} bits).",
        ),
    ]


def _images() -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        *filled(
            "image_id",
            "source_id",
            "source_sha256",
            "license",
            "split",
            "width",
            "height",
            "score",
            "score_source",
            "phash",
            "pipeline_version",
            "seed",
        ),
        gxe.ExpectColumnValuesToBeUnique(column="image_id", description="Every image id is given once."),
        among("split", SPLITS, "Every image is in one of the splits."),
        *(
            gxe.ExpectColumnValuesToMatchRegex(
                column=column, regex=regex, description=f"Every `{column}` is a hex hash."
            )
            for column, regex in LOOKS_LIKE.items()
        ),
        between("width", 32, None, "Every image is at least 32 px wide."),
        between("height", 32, None, "Every image is at least 32 px high."),
        between("score", 0, 1, "Every image's score lies in 0..1."),
    ]


def _pixels() -> list[Expectation]:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    rules = []
    for what in ("image", "reference"):
        rules += [
            gxe.ExpectColumnValuesToBeNull(
                column=f"{what}_fault", description=f"Every {what} decodes to its last byte."
            ),
            among(f"{what}_mode", ["RGB"], f"Every {what} is stored as 8-bit RGB."),
            equal(f"{what}_width", "width", f"Every {what} is as wide as its row says."),
            equal(f"{what}_height", "height", f"Every {what} is as high as its row says."),
        ]
    return [
        *rules,
        gxe.ExpectColumnValuesToBeBetween(
            column="changed",
            min_value=1,
            row_condition=Column("extent") == "global",
            description="A distortion of the whole image changes pixels of its reference.",
        ),
        between(
            "changed_outside",
            0,
            0,
            "Outside the masks of local distortions no pixel differs from the reference; in a clean image none does.",
        ),
    ]


def _distortions() -> list[Expectation]:
    import great_expectations.expectations as gxe

    from iqaflow import distortions

    return [
        *filled("name", "category", "level", "severity", "order"),
        among("name", distortions.names(), "Every distortion is one the project knows."),
        among("category", sorted(distortions.categories()), "Every category is one of the twelve."),
        equal("category", "category_of_name", "Every distortion is filed under its own category."),
        between("level", 1, 5, "Every level lies in 1..5."),
        among("severity", distortions.SEVERITIES, "Every severity is one of the five words."),
        between("order", 0, None, "The order of distortions counts from 0."),
        among("region_known", [True], "Every local distortion names a region of its image.", of="region_id"),
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=["row_of_image", "order"],
            description="Distortions of one image have different places in the order.",
        ),
    ]


def _regions() -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        *filled("region_id", "label", "x0", "y0", "x1", "y1", "area", "score"),
        gxe.ExpectCompoundColumnsToBeUnique(
            column_list=["row_of_image", "region_id"], description="Every region id is given once in its image."
        ),
        gxe.ExpectColumnValuesToMatchRegex(column="label", regex=TEXT, description="Every region has a phrase."),
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
        gxe.ExpectColumnValuesToBeNull(
            column="mask_fault", description="Every mask is a valid run-length code of the image's size, not empty."
        ),
        between("area_error", 0, 0.5, "Every area is that of its mask."),
        between("box_error", 0, 0.5, "Every box is the tightest one around its mask."),
        between("changed_inside", 1, None, "A local distortion changes pixels inside its mask."),
    ]


def _conversations() -> list[Expectation]:
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    rate, alone = Column("task") == "rate", Column("task") != "rate"
    return [
        *filled("conversation_id", "task", "style", "reference_mode", "split", "teacher"),
        gxe.ExpectColumnValuesToBeUnique(column="conversation_id", description="Every conversation id is given once."),
        among("task", TASKS, "Every task is one of the eight."),
        among("style", ["brief", "detailed"], "Every style is brief or detailed."),
        among(
            "reference_mode", ["fr", "nr"], "Every conversation says if a reference is shown (fr) or not (nr)."
        ),
        equal("reference_mode", "mode_by_roles", "A reference is shown exactly where the mode is fr."),
        among("split", SPLITS, "Every conversation is in one of the splits."),
        between("teacher_confidence", 0, 1, "Every teacher's confidence lies in 0..1."),
        gxe.ExpectColumnValuesToMatchRegex(
            column="dialogue",
            regex=r"^user assistant(?: user assistant)*$",
            description="User and assistant take turns; the assistant has the last word.",
        ),
        among("image_roles", ["A B", "A B reference"], "A comparison shows images A and B.", rate),
        among("image_roles", ["image", "image reference"], "Any other question shows one image.", alone),
        between("images_compared", 2, 2, "A comparison is between two different images.", when=rate),
        among("better", ["Image A", "Image B"], "A comparison knows the better image.", rate),
        gxe.ExpectColumnValuesToNotBeNull(
            column="better", row_condition=rate, description="A comparison has a better image."
        ),
        gxe.ExpectColumnValuesToBeNull(
            column="better", row_condition=alone, description="Only a comparison has a better image."
        ),
        gxe.ExpectColumnValuesToBeNull(
            column="answer_fault", description="Every answer, read by the parser, says what its targets say."
        ),
    ]


def _turns() -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        among("role", ["user", "assistant"], "Only user and assistant speak."),
        *filled("role", "text"),
        gxe.ExpectColumnValuesToMatchRegex(column="text", regex=TEXT, description="No question or answer is empty."),
    ]


def _conversation_images() -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        *filled("image_id", "role"),
        among("role", ["image", "A", "B", "reference"], "Every image plays a known role."),
        gxe.ExpectColumnValuesToNotBeNull(
            column="image_split", description="Every image a conversation shows is in the images table."
        ),
        equal("image_split", "split", "A conversation is in the split of its images."),
        among("reference_stored", [True], "A reference that is shown is stored."),
    ]


def _answer_spans() -> list[Expectation]:
    import great_expectations.expectations as gxe

    return [
        *filled("start", "end"),
        between("start", 0, None, "No label begins before its answer."),
        above("end", "start", "Every label has a length."),
        above("answer_length", "end", "No label ends after its answer.", or_equal=True),
        gxe.ExpectColumnValuesToMatchRegex(column="text", regex=TEXT, description="Every label holds words."),
    ]


def _target_categories() -> list[Expectation]:
    from iqaflow import distortions

    return [
        among("category", sorted(distortions.categories()), "Every target category is one of the twelve."),
        among("in_image", [True], "Every target category was applied to the image asked about."),
    ]


def _target_regions() -> list[Expectation]:
    return [among("in_image", [True], "Every target region is a region of the image asked about.")]


def _target_boxes() -> list[Expectation]:
    return [
        *filled("first", "last"),
        between("first", 0, 399, "The first cell of every target box is on the 20x20 grid."),
        between("last", 0, 399, "The last cell of every target box is on the 20x20 grid."),
        above("last_row", "first_row", "The last cell of a box is not above its first.", or_equal=True),
        above("last_column", "first_column", "The last cell of a box is not left of its first.", or_equal=True),
    ]

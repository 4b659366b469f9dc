"""The conversations table: rows, turns, images shown, label words and targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iqaflow import tasks
from iqaflow.data.tables import ORIGINS, SPLITS
from iqaflow.validate.rules import above, among, between, counted, empty, equal, filled, once
from iqaflow.validate.suites.pictures import GIVEN

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation


def rules(phash_distance: int) -> dict[str, list[Expectation]]:
    from iqaflow import distortions

    categories = sorted(distortions.categories())
    return {
        "conversations": [*_rows(), *_truth()],
        "turns": [
            empty("missing", "Every turn has a role and a text."),
            among("role", ["user", "assistant"], "Only user and assistant speak."),
            empty(
                "text_fault",
                "Every text has words and is clean: no markup, no control characters, no instruction to the model.",
                of=("text",),
            ),
        ],
        "conversation_images": [
            empty("missing", "Every image shown has an id and a role."),
            among("role", ["image", "A", "B", "reference"], "Every image plays a known role."),
            filled("image_split", "Every image a conversation shows is in the images table."),
            equal("image_split", "split", "A conversation is in the split of its images."),
            among("reference_stored", [True], "A reference that is shown is stored."),
        ],
        "answer_spans": [
            empty("fault", "Every label is a piece of its answer that holds words.", of=("start", "end", "answer_length"))
        ],
        "target_categories": [
            among("category", categories, f"Every target category is one of the {counted(len(categories))}."),
            among("in_image", [True], "Every target category was applied to the image asked about."),
        ],
        "target_levels": [
            empty("missing", "Every target level of a synthetic image is given and is not NaN.", of=("level",)),
            between("level", 1, 5, "Every target level lies in 1..5."),
        ],
        "target_regions": [among("in_image", [True], "Every target region is a region of the image asked about.")],
        "target_boxes": [
            empty(
                "fault",
                "Every target box is one or two cells of the 20x20 grid, top left and bottom right.",
                of=("first", "last"),
            )
        ],
    }


def _rows() -> list[Expectation]:
    from great_expectations.expectations.row_conditions import Column

    names = [task.name for task in tasks.pairs()]
    pair, alone = Column("task").is_in(names), Column("task").is_not_in(names)
    return [
        empty("missing", GIVEN),
        once(("conversation_id",), "Every conversation id is given once."),
        among("origin", ORIGINS, "Every conversation's origin is one of the four."),
        among(
            "origin_fits",
            [True],
            "A conversation about a synthetic image is synthetic, and no other is.",
            of=("origin", "dataset"),
        ),
        among("task", tasks.names(), f"Every task is one of the {counted(len(tasks.names()))}."),
        among("style", ["brief", "detailed"], "Every style is brief or detailed."),
        among("reference_mode", ["fr", "nr"], "Every conversation says if a reference is shown (fr) or not (nr)."),
        equal("reference_mode", "mode_by_roles", "A reference is shown exactly where the mode is fr."),
        among("split", SPLITS, "Every conversation is in one of the splits."),
        between("teacher_confidence", 0, 1, "Every teacher's confidence lies in 0..1."),
        empty("turns_fault", "User and assistant take turns; the assistant has the last word."),
        among("image_roles", ["A B", "A B reference"], "A comparison shows images A and B.", pair),
        among("image_roles", ["image", "image reference"], "Any other question shows one image.", alone),
        between("images_compared", 2, 2, "A comparison is between two different images.", when=pair),
        above("answer_limit", "answer_words", "No answer is longer than its style allows.", True, of=("style", "origin")),
        above("question_limit", "question_words", "No question is longer than a person would ask.", True, of=("origin",)),
    ]


def _truth() -> list[Expectation]:
    return [
        among("better", ["Image A", "Image B"], "A comparison knows the better image."),
        empty("better_fault", "A comparison of ours has a better image, and nothing else has one.", of=("task", "better")),
        equal("better", "better_by_score", "The better image is the one with the higher score."),
        empty("rating_fault", "A rating word is the one nearest to the score.", of=("answer",)),
        empty("answer_fault", "Every answer, read by the parser, says what its targets say."),
        empty("kind_fault", "The region a question means is one of its kind: worst, best, or distorted in that order."),
        empty("contradicts", "Two answers to one question about the same images have the same truth.", of=("task",)),
    ]

"""What must hold in the data, as Great Expectations suites, one per frame, each rule with a plain sentence.

The sentence is what people read in the report and in the error; the expectation is what is computed. A module of this
package gives suites for some frames in `rules(phash_distance)`; those of one frame are put together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iqaflow.core.plugins import KINDS
from iqaflow.validate.rules import between, equal

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

# in the order of the report; the first that fails is the one the error names
FRAMES = (
    "splits",
    "photographs",
    "images",
    "distortions",
    "regions",
    "conversations",
    "turns",
    "conversation_images",
    "answer_spans",
    "target_categories",
    "target_levels",
    "target_regions",
    "target_boxes",
    "categories",
    "choices",
    "phrases",
)


def layout() -> dict[str, list[Expectation]]:
    """What must hold before anything else can be looked at."""
    return {
        "columns": [equal("found", "expected", "Every column of both tables is there with its type.")],
        "tables": [between("rows", 1, None, "Both tables have rows.")],
    }


def content(phash_distance: int) -> dict[str, list[Expectation]]:
    """All suites, by frame. `phash_distance` is how alike photographs of two splits may not be, in bits."""
    suites: dict[str, list[Expectation]] = {name: [] for name in FRAMES}
    for module in KINDS["suites"].modules().values():
        for frame, rules in module.rules(phash_distance).items():
            suites[frame] += rules
    return suites

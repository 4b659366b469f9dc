"""What only the whole set can show: balance, variety, repetition (balance.py says how, chance.py how far chance may go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iqaflow.validate.checks.balance import DOMINANT, EVEN, REPEATED, SKEW, VARIETY
from iqaflow.validate.rules import above

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation


def rules(phash_distance: int) -> dict[str, list[Expectation]]:
    chance = "beyond what chance explains (one set in a million)"
    needed = ", ".join(f"{least} from {images} images on" for images, least in VARIETY)
    return {
        "categories": [
            above(
                "share",
                "low",
                f"No category is seen {SKEW:g} times less often than the uniform draw gives, {chance}.",
                or_equal=True,
                of=("images",),
            ),
            above(
                "high",
                "share",
                f"No category is seen {SKEW:g} times more often than the uniform draw gives, {chance}.",
                or_equal=True,
                of=("images",),
            ),
        ],
        "choices": [
            above(
                "share",
                "low",
                f"No first choice of two is right less than {EVEN[0]:.0%} of the time, {chance}.",
                or_equal=True,
                of=("images",),
            ),
            above(
                "high",
                "share",
                f"No first choice of two is right more than {EVEN[1]:.0%} of the time, {chance}.",
                or_equal=True,
                of=("images",),
            ),
        ],
        "phrases": [
            above(
                "top_limit",
                "top_share",
                f"No wording makes up more than {DOMINANT:.0%} of a task's questions, {chance}.",
                or_equal=True,
                of=("wording",),
            ),
            above("wordings", "wordings_needed", f"Questions are worded in several ways ({needed}).", or_equal=True),
            above(
                "repeated_limit",
                "repeated",
                f"No more than {REPEATED:.0%} of a task's rows repeat another word for word, {chance}.",
                or_equal=True,
            ),
        ],
    }

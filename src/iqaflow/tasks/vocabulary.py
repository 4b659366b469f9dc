"""The closed vocabulary a model was taught: what it can be asked and what its answers can be.

It belongs to the model, not to the code: a category added later leaves every older model as it is, askable about what it knows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from iqaflow import distortions
from iqaflow.tasks import grammar


@dataclass(frozen=True)
class Vocabulary:
    """`categories` are (id, phrase) pairs sorted by id; `severities` from slight to catastrophic; `ratings` from worst to best;
    `grid` cells a side of the position grid."""

    categories: tuple[tuple[str, str], ...]
    severities: tuple[str, ...]
    ratings: tuple[str, ...]
    grid: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Category ids, sorted."""
        return tuple(id for id, _ in self.categories)

    def phrase(self, id: str) -> str:
        """The words of a category id; KeyError if this vocabulary lacks it."""
        return dict(self.categories)[id]

    def tree(self) -> dict[str, Any]:
        """As JSON keeps it: in the manifest of the model and in its calibration."""
        return {"categories": dict(self.categories), "severities": list(self.severities), "ratings": list(self.ratings),
                "grid": self.grid}

    @classmethod
    def read(cls, tree: dict[str, Any]) -> Vocabulary:
        """The inverse of `tree`."""
        return cls(tuple(sorted(tree["categories"].items())), tuple(tree["severities"]), tuple(tree["ratings"]), tree["grid"])


@functools.cache
def current() -> Vocabulary:
    """What the code of today teaches a model."""
    categories = tuple(sorted((category.id, category.phrase) for category in distortions.categories().values()))
    return Vocabulary(categories, distortions.SEVERITIES, grammar.RATINGS, grammar.GRID)

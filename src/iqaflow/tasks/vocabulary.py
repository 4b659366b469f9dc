"""The closed vocabulary a model was taught: what it can be asked and what its answers can be.

It belongs to the model, not to the code: `iqaflow train` writes it into the manifest of the weights, `iqaflow calibrate` into
the calibration, and whoever asks a model reads it there. A category added, renamed or removed later leaves every older model as
it is, askable about what it knows.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

import numpy as np

from iqaflow import distortions
from iqaflow.core.manifest import MANIFEST, read_manifest
from iqaflow.tasks import grammar

KEY: Final = "vocabulary"  # in the manifest of a model and in its calibration


class VocabularyTree(TypedDict):
    """A vocabulary as JSON keeps it: category id to phrase, the words in `Vocabulary`'s orders."""

    categories: dict[str, str]
    severities: list[str]
    ratings: list[str]
    grid: int


@dataclass(frozen=True)
class Vocabulary:
    """`categories` are (id, phrase) pairs sorted by id; `severities` from slight to catastrophic; `ratings` from worst to best;
    `grid` cells a side of the position grid.
    """

    categories: tuple[tuple[str, str], ...]
    severities: tuple[str, ...]
    ratings: tuple[str, ...]
    grid: int

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """Category ids, sorted."""
        return tuple(id for id, _ in self.categories)

    @functools.cached_property
    def phrases(self) -> dict[str, str]:
        """Phrase to category id, sorted by phrase."""
        return {phrase: id for id, phrase in sorted(self.categories, key=lambda pair: pair[1])}

    @property
    def cells(self) -> int:
        """Cells of the whole grid."""
        return self.grid**2

    @property
    def values(self) -> tuple[float, ...]:
        """The scores 0..1 that the ratings stand for."""
        return tuple(index / (len(self.ratings) - 1) for index in range(len(self.ratings)))

    def phrase(self, id: str) -> str:
        """The words of a category id; KeyError if this vocabulary lacks it."""
        return dict(self.categories)[id]

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Closed set of an image with at most one distortion: each phrase, and none (last)."""
        return (*self.phrases, grammar.CLEAN)

    @functools.cached_property
    def ordered_pairs(self) -> tuple[str, ...]:
        """Closed set of an image with two distortions: every pair in both orders."""
        return tuple(self._pair(a, b) for a in self.ids for b in self.ids if a != b)

    @functools.cached_property
    def regions(self) -> tuple[str, ...]:
        """Closed set of a region with at most one distortion: each phrase at every severity, and none (last)."""
        return (*(f"{severity} {phrase}" for phrase in self.phrases for severity in self.severities), grammar.CLEAN)

    def pairs(self, logs: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        """The k pairs whatever their order, with log-probabilities (..., k) from those (..., 2k) of `ordered_pairs`: an answer
        counts as a set (DepictQA-Wild, section 3.7), so its chance is that of the set.
        """
        at = {text: place for place, text in enumerate(self.ordered_pairs)}
        sets = [(a, b) for a in self.ids for b in self.ids if a < b]
        both = [np.logaddexp(logs[..., at[self._pair(a, b)]], logs[..., at[self._pair(b, a)]]) for a, b in sets]
        return tuple(self._pair(a, b) for a, b in sets), np.stack(both, -1)

    def by_category(self, logs: np.ndarray) -> np.ndarray:
        """Log-probabilities (..., len(names)) of the distortions and none from those of `regions`."""
        grouped = logs[..., :-1].reshape(*logs.shape[:-1], -1, len(self.severities))
        return np.concatenate([np.logaddexp.reduce(grouped, axis=-1), logs[..., -1:]], axis=-1)

    def covers(self, conversation: Mapping[str, Any]) -> bool:
        """Whether every category that a conversation names, in its truth, question or answer, is in this vocabulary, in the
        words of today.
        """
        named = {*(conversation["targets"]["categories"] or ())}
        for turn in conversation["turns"]:
            named.update(grammar.parse(turn["text"]).categories)
        return not named & current().apart(self)

    def apart(self, other: Vocabulary) -> set[str]:
        """The ids of the categories that only one of the two has, or that they call by other words."""
        return {id for id, _ in set(self.categories) ^ set(other.categories)}

    def tree(self) -> VocabularyTree:
        """As JSON keeps it."""
        return {
            "categories": dict(self.categories),
            "severities": list(self.severities),
            "ratings": list(self.ratings),
            "grid": self.grid,
        }

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> Vocabulary:
        """The inverse of `tree`."""
        return cls(tuple(sorted(tree["categories"].items())), tuple(tree["severities"]), tuple(tree["ratings"]), tree["grid"])

    def _pair(self, a: str, b: str) -> str:
        return f"{self.phrase(a)} and {self.phrase(b)}"


# What every model made before 2026-11-29 was taught, the base that ships among them: their manifests and calibrations do not say
# it. A record of that time; it never changes with the code.
FIRST = Vocabulary(
    (
        ("blur", "blur"),
        ("brighten", "overly high brightness"),
        ("compression", "compression"),
        ("contrast_strengthen", "overly high contrast"),
        ("contrast_weaken", "insufficient contrast"),
        ("darken", "insufficient brightness"),
        ("noise", "noise"),
        ("oversharpen", "oversharpening"),
        ("pixelate", "pixelation"),
        ("quantization", "color quantization"),
        ("saturate_strengthen", "overly high saturation"),
        ("saturate_weaken", "insufficient saturation"),
    ),
    ("slight", "moderate", "obvious", "serious", "catastrophic"),
    ("bad", "poor", "fair", "good", "excellent"),
    20,
)


@functools.cache
def current() -> Vocabulary:
    """What the code of today teaches a model."""
    categories = tuple(sorted((category.id, category.phrase) for category in distortions.categories().values()))
    return Vocabulary(categories, distortions.SEVERITIES, grammar.RATINGS, grammar.GRID)


def of(record: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that the manifest of a model or a calibration holds."""
    return Vocabulary.read(record[KEY]) if KEY in record else FIRST


def of_model(folder: Path) -> Vocabulary:
    """The vocabulary of the model in a folder of weights. DamagedError if its manifest was altered."""
    return of(read_manifest(folder) if (folder / MANIFEST).is_file() else {})

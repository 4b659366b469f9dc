"""What a task is: everything the pipeline needs to know of one, in one object that its file defines as `TASK`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from iqaflow.data.rows import ConversationRow, ImageRow
    from iqaflow.tasks.scene import Exchange, Scene
    from iqaflow.tasks.vocabulary import Vocabulary

LAST = 100  # the place of a task that says none: after those of the project, by name


@dataclass(frozen=True)
class Counted:
    """How a question counts in the benchmark: its cell, its truth in the one spelling of answers, and the strongest level it is
    about (None: the strongest of the image).
    """

    cell: str
    target: str
    level: float | None = None


@dataclass(frozen=True)
class Meant:
    """The targets of a stored conversation that its answer is checked against: category ids, boxes `first-last`, and `labels`,
    the words of the answer that carry it.
    """

    kind: str
    better: str | None
    categories: tuple[str, ...]
    boxes: tuple[str, ...]
    labels: str


class OnePicture(Protocol):
    """How a task asks about one image or its regions."""

    def __call__(self, scene: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]: ...


class TwoPictures(Protocol):
    """How a task compares images A and B."""

    def __call__(self, a: Scene, b: Scene, reference: bool, rng: np.random.Generator, plain: bool = False) -> list[Exchange]: ...


Ask = TypeVar("Ask", covariant=True)  # OnePicture, or TwoPictures where `about` is `pair`


@dataclass(frozen=True, eq=False)
class Task(Generic[Ask]):
    """One task.

    `questions(scene, reference, rng, plain=False) -> list[Exchange]` asks about an image or its regions (`OnePicture`), and
    about two scenes where `about` is `pair` (`TwoPictures`). Training questions come in many wordings; `plain` ones are worded
    as tests word them, each once.
    """

    name: str
    about: Literal["image", "region", "pair"]
    questions: Ask
    headline: str
    """The benchmark metric that ranks its predictors."""
    check: Callable[[str, Meant], str | None]
    """How an answer differs from what it should say, in words; None if it does not."""
    reference: bool = False
    """Whether an image is also asked about beside its undistorted reference."""
    closed: Callable[[ConversationRow, Vocabulary], tuple[str, ...] | None] = lambda row, vocabulary: None
    """All answers that a conversation's question allows; None where the answer is free."""
    calibrated: Callable[[ConversationRow, Vocabulary], tuple[str, ...] | None] | None = None
    """The same where more is asked as a closed set when confidences are fitted; None: as `closed`."""
    tokens: tuple[int, int] = (96, 96)
    """Most tokens of a free answer, brief and detailed."""
    item: Callable[[ConversationRow, ImageRow], Counted | None] = lambda row, image: None
    """How a conversation about an image counts in the benchmark; None if it does not."""
    value: Callable[[ImageRow], float | None] | None = None
    """The number every image has for this task, whatever it is asked: one benchmark item an image."""
    credit: Callable[[str, str], tuple[str, float]] | None = None
    """(target, text) to what the text says in one spelling, and its credit 0..1. None: a predictor's own value counts."""
    description: bool = False
    """Whether answers are descriptions: `benchmark.descriptions` says how many are written and scored."""
    rated: bool = False
    """Whether a score is all it needs: people who only rated an image can be asked."""
    ungraded: Callable[[Scene, Exchange], bool] | None = None
    """Whether an exchange names and compares no severity, so that people who gave none can be asked; None: all do."""
    place: int = LAST
    """Its place in tables, and its number in training."""
    question_place: int = LAST
    """Its place among the questions of one image. Random numbers are drawn in this order: another order, other data."""
    benchmarked: int = LAST
    """Its place in the benchmark."""

    def most_tokens(self, style: str) -> int:
        """Most tokens of a free answer of a style."""
        return self.tokens[style == "detailed"]

"""Ask a model the conversations of a data set and read its answers: closed sets, places, free text.

Calibration and benchmark read the same way, so that what was calibrated is what is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from iqaflow import tasks
from iqaflow.data.images import decode
from iqaflow.data.rows import ConversationRow
from iqaflow.engine.session import Engine, Prompt
from iqaflow.grounding.text_to_point import Spatial
from iqaflow.tasks import grammar
from iqaflow.tasks import score as rating
from iqaflow.tasks.vocabulary import Vocabulary

Row = dict[str, Any]
SETS_AT_ONCE = 12


@dataclass(frozen=True)
class Reading:
    """One answer. Closed set: `candidates` with `log_probs`; a place: `spatial`; else free `text` with `sure`, the mean
    probability of its tokens. `label` is the region's name the model gave.
    """

    item_id: str
    task: str
    conversation: Row | None
    candidates: tuple[str, ...] = ()
    log_probs: np.ndarray | None = None
    spatial: Spatial | None = None
    label: str = ""
    text: str = ""
    sure: float = 0.0

    @property
    def kind(self) -> str:
        """The task whose calibration applies: naming two distortions has its own."""
        return "identify_two" if self.task == "identify" and grammar.CLEAN not in self.candidates else self.task


def in_set(chances: np.ndarray, candidates: Sequence[str], chosen: int) -> float:
    """How sure a named pair is, in the credit it earns: the mean chance of its two members to be in the true pair."""
    return float(
        np.mean(
            [
                sum(chance for chance, other in zip(chances, candidates, strict=True) if name in other.split(" and "))
                for name in candidates[chosen].split(" and ")
            ]
        )
    )


def closed_set(row: Row, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    """A model's candidates for a conversation's question, or None where the answer is free."""
    return tasks.find(row["task"]).closed(cast(ConversationRow, row), vocabulary)


def calibrated_set(row: Row, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    """Like `closed_set`, and where `assess` asks more as a closed set: a region with at most one distortion."""
    task = tasks.find(row["task"])
    return (task.calibrated or task.closed)(cast(ConversationRow, row), vocabulary)


def read(
    engine: Engine,
    images: Sequence[Row],
    conversations: Sequence[Row],
    closed: Callable[[Row, Vocabulary], tuple[str, ...] | None] = closed_set,
) -> Iterator[Reading]:
    """Answers to all conversations about the given images, and each image's rating under its own id. `closed` says which
    questions have a closed set of answers.

    Image rows need `image_id`, `image`, `reference`; the order of the readings is by image set and fixed.
    """
    from iqaflow.core.progress import progress

    by_id = {row["image_id"]: row for row in images}
    groups: dict[tuple[tuple[str, str], ...], list[Row | None]] = {(("image", image_id),): [None] for image_id in sorted(by_id)}
    for row in conversations:
        groups.setdefault(tuple((entry["role"], entry["image_id"]) for entry in row["image_ids"]), []).append(row)
    # sets of one shape together: their prompts are padded to each other
    keys = sorted(groups, key=lambda key: (len(key), key))
    batches = [keys[start : start + SETS_AT_ONCE] for start in range(0, len(keys), SETS_AT_ONCE)]
    for batch in progress(batches, len(batches), "asking the model"):
        pixels = [[decode(by_id[name]["reference" if role == "reference" else "image"]) for role, name in key] for key in batch]
        session = engine.session(pixels, [[role for role, _ in key] for key in batch])
        questions = [(item, row) for item, key in enumerate(batch) for row in groups[key]]
        yield from _answers(session, questions, batch, closed)


def _answers(session: Any, questions: list[tuple[int, Row | None]], keys: list[Any], closed: Any) -> Iterator[Reading]:
    vocabulary = session.engine.vocabulary
    sets: dict[tuple[str, ...], list[tuple[int, Row | None]]] = {}
    for item, row in questions:
        sets.setdefault(closed(row, vocabulary) or () if row else vocabulary.ratings, []).append((item, row))
    for candidates, members in sorted(sets.items(), key=lambda pair: pair[0]):
        if not candidates:
            yield from _open_answers(session, [(item, row) for item, row in members if row])
            continue
        logs = session.choose(
            [Prompt(item, _question(row) if row else rating.plain_question()) for item, row in members], candidates
        )
        if candidates == vocabulary.ordered_pairs:
            candidates, logs = vocabulary.pairs(logs)
        for (item, row), log_probs in zip(members, logs, strict=True):
            item_id, task = (row["conversation_id"], row["task"]) if row else (keys[item][0][1], "score")
            yield Reading(item_id, task, row, candidates, log_probs)


def _open_answers(session: Any, members: list[tuple[int, Row]]) -> Iterator[Reading]:
    places = [(item, row) for item, row in members if row["task"] == "ground"]
    if places:
        logits = session.spatial([Prompt(item, _question(row)) for item, row in places])
        for (_, row), (spatial, label) in zip(places, logits, strict=True):
            yield Reading(row["conversation_id"], "ground", row, spatial=spatial, label=label)
    lengths: dict[int, list[tuple[int, Row]]] = {}
    for item, row in members:
        if row["task"] != "ground":
            lengths.setdefault(tasks.find(row["task"]).most_tokens(row["style"]), []).append((item, row))
    for most, some in sorted(lengths.items()):
        for (_, row), (text, sure) in zip(
            some, session.write([Prompt(item, _question(row)) for item, row in some], most), strict=True
        ):
            yield Reading(row["conversation_id"], row["task"], row, text=text, sure=sure)


def _question(row: Row) -> str:
    return row["turns"][0]["text"]

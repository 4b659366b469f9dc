"""Whether an answer says what its targets say: every answer is read back by the one parser of the grammar."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

NAMES_CATEGORIES = ("identify", "describe", "describe_local", "refer")


def fault(task: str | None, style: str | None, answer: str, spans: Any, targets: dict[str, Any]) -> str | None:
    """Null if the parsed answer agrees with `targets`, else the difference in words.

    Categories are compared for the tasks that name them, boxes for all, the choice of `rate` by its label words
    (a reason may mention both images), the rating word of `score`, yes or no of `vqa`.
    """
    if not answer.strip() or task is None:
        return None  # other checks name an empty answer and a missing task
    try:
        said = _parse(task, answer)
    except ValueError as error:
        return str(error)[:200]
    kind = targets.get("kind") or ""
    if task == "rate":
        words = " ".join(
            answer[span[0] : span[1]] for span in spans or () if span and len(span) == 2 and None not in span
        )
        chosen = _parse(task, words).better
        return None if chosen == targets.get("better") else f"says {chosen}, the target is {targets.get('better')}"
    if task == "score":
        return None if said.rating else "names no rating word"
    if task == "vqa" and kind.startswith("yesno"):
        return None if said.affirmed is not None else "says neither yes nor no"
    if task in NAMES_CATEGORIES or task == "vqa":
        named, meant = sorted(said.categories), sorted(set(targets.get("categories") or ()))
        if named != meant:
            return f"names {', '.join(named) or 'none'}, the targets are {', '.join(meant) or 'none'}"
    if task == "ground" or (task == "describe" and style == "detailed"):
        boxes = sorted({(place.first, place.last) for place in said.places if place.last is not None})
        meant = sorted({tuple(cells) for cells in targets.get("boxes_cells") or () if cells and None not in cells})
        if boxes != meant:
            return f"gives boxes {boxes or 'none'}, the targets are {meant or 'none'}"
    return None


@lru_cache(maxsize=65_536)
def _parse(task: str, answer: str) -> Any:
    from iqaflow import tasks

    return tasks.parse(task, answer)

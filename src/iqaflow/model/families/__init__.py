"""Kinds of vision-language models, one file each: another architecture is one more file here with a `FAMILY`.

A family says what differs between architectures: the image processor, how many placeholder tokens an image takes, which
tensors the vision part gets, the positions of a prompt. What is common to all stands in `family`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from iqaflow.core.errors import StageError
from iqaflow.core.plugins import KINDS
from iqaflow.model.families.family import Family


@cache
def families() -> dict[str, Family]:
    """Every known `model_type` with its family."""
    by_type: dict[str, Family] = {}
    for module in KINDS["families"].modules().values():
        by_type |= dict.fromkeys(module.FAMILY.types, module.FAMILY)
    return by_type


def of(config: Any) -> Family:
    """The family of a model's config. Raises StageError for an architecture that no file here describes."""
    known = families()
    if config.model_type not in known:
        raise StageError(
            f"A base of type {config.model_type!r} is not known; known are {', '.join(sorted(known))}: add one "
            "file to iqaflow/model/families."
        )
    return known[config.model_type]

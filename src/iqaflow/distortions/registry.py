"""The registry: every module of `synthetic/` that sets `PHRASE` is a category, every decorated function in it a distortion.

A category module sets `PHRASE` (the words of an answer), `NR_MIN_LEVEL` (the lowest level that can be seen without
a reference), `FOLLOWED_BY` (category ids that may be applied after it) and, if it likes, `EFFECTS` (what it does, in words).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from iqaflow.core.plugins import KINDS

LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
Value = float | tuple[float, ...]
Function = Callable[..., np.ndarray]

_registered: dict[str, Distortion] = {}


@dataclass(frozen=True)
class Distortion:
    """One function: `run(image, value, rng)`, where `value` comes from `levels`, a number or a tuple for each level."""

    name: str
    category: str
    levels: tuple[Value, ...]
    blocks: bool
    run: Function

    def value(self, level: float) -> Value:
        """The parameters at a level; between whole levels they are interpolated linearly."""
        if float(level).is_integer():
            return self.levels[int(level) - 1]
        if isinstance(self.levels[0], tuple):
            return tuple(float(np.interp(level, LEVELS, column)) for column in zip(*self.levels, strict=True))
        return float(np.interp(level, LEVELS, self.levels))


@dataclass(frozen=True)
class Category:
    """One category; `phrase` is its name in answers, `followed_by` the categories allowed after it, `effects` what it does to a
    picture in words (six or more, the first four for any level), where its file says it.
    """

    id: str
    phrase: str
    functions: tuple[str, ...]
    nr_min_level: int
    followed_by: tuple[str, ...]
    effects: tuple[str, ...] = ()


def distortion(levels: tuple[Value, ...], blocks: bool = False) -> Callable[[Function], Function]:
    """Register the decorated function under its own name; `blocks` marks those that work on a grid."""

    def register(function: Function) -> Function:
        name, category = function.__name__, function.__module__.rpartition(".")[2]
        if name in _registered:
            raise ValueError(f"distortion {name!r} is defined twice: in {_registered[name].category} and {category}")
        if len(levels) != len(LEVELS):
            raise ValueError(f"distortion {name!r} has {len(levels)} levels, expected {len(LEVELS)}")
        _registered[name] = Distortion(name, category, tuple(levels), blocks, function)
        return function

    return register


@functools.cache
def load() -> tuple[dict[str, Category], dict[str, Distortion]]:
    """Import every category module, once, and return all categories and distortions."""
    modules = KINDS["distortions"].modules()
    categories = {}
    for id, module in modules.items():
        functions = tuple(d.name for d in _registered.values() if d.category == id)
        if not functions:
            raise ValueError(f"category {id!r} registers no distortion, expected at least one")
        categories[id] = Category(
            id, module.PHRASE, functions, module.NR_MIN_LEVEL, tuple(module.FOLLOWED_BY), tuple(getattr(module, "EFFECTS", ()))
        )
    for category in categories.values():
        if unknown := set(category.followed_by) - set(modules):
            raise ValueError(f"category {category.id!r} is followed by unknown {sorted(unknown)}, expected {sorted(modules)}")
    return categories, dict(sorted(_registered.items()))

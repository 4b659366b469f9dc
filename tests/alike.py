"""Results that are equal but for rounding: how images are batched changes the last digits of a model's numbers."""

from __future__ import annotations

from typing import Any


def alike(a: Any, b: Any, tolerance: float = 2e-3) -> bool:
    """Whether two plain JSON values are the same, numbers within `tolerance`."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key], tolerance) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(alike(one, other, tolerance) for one, other in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) <= tolerance
    return a == b

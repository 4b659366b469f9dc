"""Cases of a slow test: `make test` runs a representative, `make test-all` the others too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def representatives(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """For `parametrize`: the cases, all but the first `count` of them marked as slow. A tuple is a case of several arguments."""
    cases = list(cases)
    others = [case if isinstance(case, tuple) else (case,) for case in cases[count:]]
    return [*cases[:count], *(pytest.param(*case, marks=pytest.mark.slow) for case in others)]

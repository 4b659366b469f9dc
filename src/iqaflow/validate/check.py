"""What came of one expectation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Check:
    """One expectation and what came of it. `rows` are the first offenders: their ids, then their values."""

    table: str
    expectation: str
    column: str
    says: str
    success: bool
    unexpected_count: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

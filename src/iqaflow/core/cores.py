"""How many cores are free now: two busy threads on one free core are ten times slower than one."""

from __future__ import annotations

import os
import time
from pathlib import Path


def free_cores(sample_seconds: float = 0.25) -> int:
    """Cores of this process's allowance that were idle over a short sample, at least 1.

    Where /proc/stat is absent all allowed cores count as free.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before = _idle_seconds()
    if before is None:
        return allowed
    time.sleep(sample_seconds)
    idle = (_idle_seconds() or 0.0) - before
    return max(1, min(allowed, round(idle / sample_seconds)))


def _idle_seconds() -> float | None:
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")

"""How far a share may stray by chance: bounds that a sound data set of any size breaks once in a million times.

Chernoff's bound: of n independent draws with probability p, a share at least as far out as q has probability at most
exp(-n KL(q || p)). It holds for every n, so a set of ten images is never failed for what ten draws cannot tell.
"""

from __future__ import annotations

import math

ALARM = 1e-6  # probability that one bound is broken by a set drawn as meant


def least(n: int, p: float) -> float:
    """The smallest share of n draws that is no proof that the probability is below p."""
    return _edge(n, p, 0.0)


def most(n: int, p: float) -> float:
    """The largest share of n draws that is no proof that the probability is above p."""
    return _edge(n, p, 1.0)


def _edge(n: int, p: float, end: float) -> float:
    limit = -math.log(ALARM) / max(n, 1)
    if _divergence(end, p) <= limit:
        return end
    near, far = p, end
    for _ in range(50):
        middle = (near + far) / 2
        near, far = (middle, far) if _divergence(middle, p) <= limit else (near, middle)
    return near


def _divergence(q: float, p: float) -> float:
    """KL divergence of two coins, in nats."""
    terms = ((q, p), (1 - q, 1 - p))
    return sum(a * math.log(a / b) if b > 0 else math.inf for a, b in terms if a > 0)

"""Who is beaten by nobody."""

from __future__ import annotations

import numpy as np

from rayci.analysis.statistics.piecewise import Array, Kept


def undominated(costs: Array) -> Kept:
    """Of `costs[chains, quantities]`, less being better: whether no other chain is as good in all and better in one."""
    free = np.ones(len(costs), dtype=bool)
    for place in np.lexsort(costs.T[::-1]):  # nobody is dominated by who comes later in this order
        if free[place]:
            worse = (costs >= costs[place]).all(axis=1) & (costs > costs[place]).any(axis=1)
            free &= ~worse
    return free

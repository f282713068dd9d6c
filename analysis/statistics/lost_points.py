"""What points that failed or are missing could have changed: bounds, with each at the worst and at the best end.

A lost point is never filled in and never helps. Where the criterion's range has both ends, a metric over the whole grid
lies between what it would be with every lost point at the one end and at the other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from rayci.analysis.statistics.piecewise import Array, weigh
from rayci.analysis.statistics.scoring import Reach, errors, highest
from rayci.kinds import Direction, Scale


@dataclass(frozen=True)
class Bounds:
    """Lowest and highest value `[cells, 2]` that each metric can have on the whole grid."""

    order_free_error: Array
    order_sensitivity: Array
    gap: Array
    """NaN for more than two orders."""


def bounds(values: Array, scale: Scale, reach: Reach) -> Bounds:
    """Bounds of metrics of values `[cells, units, orders, points]` with holes.

    Raises ValueError where the range of the criterion is open: there are none.
    """
    if scale.low is None or scale.high is None:
        raise ValueError("a lost point of an open range can be anything")
    holes = np.isnan(values)
    low, high = (np.where(holes, end, values).mean(axis=1) for end in (scale.low, scale.high))
    ends = [errors(curves[:, None], scale, reach)[:, 0] for curves in _nearest_and_furthest(low, high, scale)]
    pairs = list(itertools.permutations(range(values.shape[2]), 2))
    apart = [np.zeros_like(low[:, 0]), *(low[:, first] - high[:, second] for first, second in pairs)]
    widest = [high[:, first] - low[:, second] for first, second in pairs]
    spread = [highest(np.stack(lines, axis=1), reach) for lines in (apart, widest)]
    gap = np.full((len(values), 2), np.nan)
    if values.shape[2] == 2:
        gap = weigh(np.stack([low[:, 0] - high[:, 1], high[:, 0] - low[:, 1]], axis=1), reach.pieces().whole()[:, None])
    return Bounds(np.column_stack([np.minimum(*ends), np.maximum(*ends)]), np.column_stack(spread), gap)


def _nearest_and_furthest(low: Array, high: Array, scale: Scale) -> tuple[Array, Array]:
    """The curves at both ends of what lost points can be; for → 0, nearest to zero and furthest from it."""
    if scale.direction is not Direction.ZERO:
        return low, high
    nearest = np.where(np.sign(low) * np.sign(high) <= 0, 0.0, np.where(np.abs(low) < np.abs(high), low, high))
    return nearest, np.where(np.abs(low) > np.abs(high), low, high)

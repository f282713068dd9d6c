"""What points that failed or are missing could have changed: bounds, with each at the worst and at the best end.

A lost point is never filled in and never helps. Where the criterion's range has both ends, a metric over the whole grid
lies between what it would be with every lost point at the one end and at the other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from rayci.analysis.statistics.composability import order_free_error
from rayci.kinds import Direction, Scale
from tests.analysis.oracle.piecewise import Array, at, cut, segments, weigh, weights

Ends = tuple[float, float]


@dataclass(frozen=True)
class Bounds:
    """Lowest and highest value that each metric can have on the whole grid."""

    order_free_error: Ends
    order_sensitivity: Ends
    gap: Ends | None
    """Two orders only."""


def bounds(values: Array, scale: Scale, x: Array, *, rescale: bool) -> Bounds | None:
    """Bounds of metrics of values `[units, orders, points]` with holes.

    None where nothing is lost, or the range is open.
    """
    if scale.low is None or scale.high is None or not np.isnan(values).any():
        return None
    low, high = (np.where(np.isnan(values), end, values).mean(axis=0) for end in (scale.low, scale.high))
    zeros = scale.direction is Direction.ZERO

    def area(curves: Array) -> float:
        places = cut(x, curves, zeros=zeros)
        return float(weigh(segments(at(x, curves, places).max(axis=0)), weights(places, rescale=rescale)))

    errors = [_error(curves, scale, x, rescale) for curves in (low, high)]
    if zeros:
        closest = np.where(np.sign(low) * np.sign(high) <= 0, 0.0, np.where(np.abs(low) < np.abs(high), low, high))
        furthest = np.where(np.abs(low) > np.abs(high), low, high)
        errors = [_error(curves, scale, x, rescale) for curves in (closest, furthest)]
    pairs = list(itertools.permutations(range(len(low)), 2))
    apart = np.stack([np.zeros_like(x), *(low[first] - high[second] for first, second in pairs)])
    widest = np.stack([high[first] - low[second] for first, second in pairs])
    gaps = weigh(segments(np.stack([low[0] - high[1], high[0] - low[1]])), weights(x, rescale=rescale))
    gap = (float(gaps[0]), float(gaps[1])) if len(low) == 2 else None
    return Bounds((min(errors), max(errors)), (area(apart), area(widest)), gap)


def _error(curves: Array, scale: Scale, x: Array, rescale: bool) -> float:
    places = cut(x, curves, zeros=scale.direction is Direction.ZERO)
    nearest = order_free_error(at(x, curves, places), scale)
    return float(weigh(segments(nearest), weights(places, rescale=rescale)))

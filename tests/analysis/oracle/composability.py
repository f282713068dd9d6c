"""The composability metrics of one criterion: values of the orders of application in, numbers out.

    order-free error  = ideal − best   (higher is better; ideal = top of the range)
                      = best           (lower is better), |best| (closer to zero)
    order sensitivity = max − min over the orders of application; |a − b| for two

Source: arXiv 2407.06483, section 2. Its equation 1 prints `min` for criteria where higher is better; its text, tables
and code take the better order, as here. Values are arrays `[orders, …]` and may be infinite (perplexity); NaN stands
for "no value".
"""

from __future__ import annotations

import numpy as np

from rayci.kinds import Direction, Scale
from tests.analysis.oracle.piecewise import Array


def badness(values: Array, scale: Scale) -> Array:
    """`values` turned so that less is better, in their unit."""
    if scale.direction is Direction.HIGHER:
        return -values
    if scale.direction is Direction.LOWER:
        return values
    if scale.direction is Direction.ZERO:
        return np.abs(values)
    raise ValueError("a criterion without direction has no best value")


def best(values: Array, scale: Scale) -> Array:
    """The best of the values that the orders reached, in the criterion's unit `[…]`."""
    winner: Array = np.take_along_axis(values, badness(values, scale).argmin(axis=0)[None], axis=0)[0]
    return winner


def order_free_error(values: Array, scale: Scale) -> Array:
    """How far the best order stays from the ideal `[…]`, in the criterion's unit; 0 is ideal.

    NaN where higher is better and the range has no top.
    """
    nearest: Array = badness(values, scale).min(axis=0)
    if scale.direction is not Direction.HIGHER:
        return nearest
    return np.full_like(nearest, np.nan) if scale.high is None else nearest + scale.high


def order_sensitivity(values: Array) -> Array:
    """Spread of the orders' values `[…]`, in the criterion's unit, ≥ 0; NaN for ∞ − ∞."""
    with np.errstate(invalid="ignore"):
        spread: Array = values.max(axis=0) - values.min(axis=0)
    return spread

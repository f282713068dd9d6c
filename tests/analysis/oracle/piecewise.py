"""Curves that are straight lines between the γ that were run, and the areas that this makes exact.

Curves are arrays `[orders, points]` (or `[…, orders, points]`) over places `x[points]` that rise. The best of several
orders, their spread, and the distance from zero have corners only where curves cross; `cut` puts points there, after
which the trapezoid is the integral, and a finer grid of the same lines changes nothing. Pure arrays.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kept = NDArray[np.bool_]


def cut(x: Array, curves: Array, *, zeros: bool = False) -> Array:
    """`x` with a place added wherever two curves `[orders, points]` cross.

    With `zeros`, also where one crosses zero, and where two are equally far from it. Infinite ends have no
    straight line, so nothing crosses there.
    """
    pairs = list(itertools.combinations(curves, 2))
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        crossing = [first - second for first, second in pairs]
        if zeros:
            crossing += [*curves, *(first + second for first, second in pairs)]
    added = [roots(x, difference) for difference in crossing]
    return np.unique(np.concatenate([x, *added]))


def at(x: Array, curves: Array, places: Array) -> Array:
    """Values `[…, orders, len(places)]` of curves `[…, orders, points]` at places within the range of `x`."""
    if len(x) == 1:
        return np.repeat(curves, len(places), axis=-1)
    right = np.clip(np.searchsorted(x, places), 1, len(x) - 1)
    left = right - 1
    share = (places - x[left]) / (x[right] - x[left])
    with np.errstate(invalid="ignore"):
        between = curves[..., left] * (1 - share) + curves[..., right] * share
    # At a point of the grid the other end must not matter: 0 · ∞ has no value.
    on_left, on_right = share == 0, share == 1
    return np.where(on_left, curves[..., left], np.where(on_right, curves[..., right], between))


def segments(values: Array) -> Array:
    """Means `[…, points − 1]` of straight lines between `values[…, points]`; one point stands for itself."""
    if values.shape[-1] == 1:
        return values
    with np.errstate(invalid="ignore"):
        means: Array = (values[..., 1:] + values[..., :-1]) / 2
    return means


def weights(x: Array, kept: Kept | None = None, *, rescale: bool) -> Array:
    """What each segment counts in an integral over `x`; all zero where there is none.

    `kept[segments]` leaves segments out. With `rescale` the weights add up to 1, so that an integral stays in the
    values' unit, and one point's integral is its value.
    """
    if len(x) == 1:
        return np.array([1.0 if rescale else 0.0])
    widths = np.diff(x) if kept is None else np.diff(x) * kept
    return widths / widths.sum() if rescale and widths.sum() else widths


def weigh(means: Array, weight: Array) -> Array:
    """Integral `[…]` of segments' means `[…, segments]`; NaN where no segment counts.

    What does not count may be infinite.
    """
    inside = weight > 0
    if not inside.any():
        return np.full(means.shape[:-1], np.nan)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ has no value, and is NaN
        total: Array = (means[..., inside] * weight[inside]).sum(axis=-1)
    return total


def share_above(x: Array, lines: Array) -> float:
    """Share of the range of `x` on which all straight lines through `lines[lines, points]` are ≥ 0."""
    if len(x) == 1 or x[0] == x[-1]:
        return float(np.mean((lines >= 0).all(axis=0)))
    places = np.unique(np.concatenate([x, *(roots(x, line) for line in lines)]))
    passing = (at(x, lines, (places[1:] + places[:-1]) / 2) >= 0).all(axis=0)
    return float(np.diff(places)[passing].sum() / (x[-1] - x[0]))


def roots(x: Array, values: Array) -> Array:
    """Where straight lines through `values[points]` change their sign inside a segment."""
    left, right = values[:-1], values[1:]
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(left) & np.isfinite(right) & (np.sign(left) * np.sign(right) < 0)
    share = left[inside] / (left[inside] - right[inside])
    return x[:-1][inside] + share * np.diff(x)[inside]

"""Curves that are straight lines between the γ that were run, and the integrals that this makes exact.

Curves are arrays `[…, points]` over places `x[…, points]` that rise; leading axes are cells that are treated alike. The
best of several orders, their spread, and the distance from zero have corners only where curves cross: there segments
are cut into pieces, on each of which one line is chosen. Such an integral is linear in the curves' values, and a finer
grid of the same lines changes nothing. Pure arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kept = NDArray[np.bool_]


@dataclass(frozen=True)
class Pieces:
    """The segments between the points of a grid, cut into pieces; a single point is a segment of its own."""

    points: int
    shares: Array
    """`[…, segments, pieces + 1]`: where pieces begin and end, as shares of their segment from 0 to 1, rising."""
    weights: Array
    """`[…, segments, pieces]`: what each piece counts in an integral; NaN in all where none counts."""

    @property
    def counted(self) -> Kept:
        """`[…, segments, pieces]`: which pieces count."""
        return np.asarray(self.weights > 0)

    def at(self, lines: Array) -> Array:
        """Values `[…, lines, segments, pieces + 1]` of lines `[…, lines, points]` where pieces begin and end."""
        return _between(lines, self.shares)

    def means(self, lines: Array) -> Array:
        """Means `[…, lines, segments, pieces]` of lines `[…, lines, points]` over each piece."""
        return _between(lines, self._middles)

    def coefficients(self, chosen: Array | Kept) -> Array:
        """What every point of every line `[…, lines, points]` counts in the integral of what is chosen of each line.

        `chosen[…, lines, segments, pieces]`: how often, mostly once or not at all.
        """
        weights, middles = self.weights[..., None, :, :], self._middles[..., None, :, :]
        counts = np.where(weights == 0, 0.0, chosen * weights)
        to_left, to_right = (counts * (1 - middles)).sum(axis=-1), (counts * middles).sum(axis=-1)
        if self.points == 1:
            return np.asarray(to_left + to_right)
        coefficients = np.zeros((*to_left.shape[:-1], self.points))
        coefficients[..., :-1] = to_left
        coefficients[..., 1:] += to_right
        return coefficients

    def whole(self) -> Array:
        """What every point `[…, points]` of one curve counts in its own integral."""
        return self.coefficients(np.ones_like(self.weights)[..., None, :, :])[..., 0, :]

    @property
    def _middles(self) -> Array:
        return np.asarray((self.shares[..., 1:] + self.shares[..., :-1]) / 2)


def pieces(
    x: Array, lines: Array | None = None, *, zeros: bool = False, within: Array | None = None, rescale: bool
) -> Pieces:
    """The segments of `x[…, points]`, cut wherever two of `lines[…, lines, points]` cross.

    `zeros`: also where one crosses zero, and where two are equally far from it. `within[…, bounds, points]`: cut where
    one of these crosses zero, and only what is above it counts. With `rescale` weights add up to 1, so that an integral
    stays in the values' unit and that of one point is its value; otherwise one point has none.
    """
    cutting = [] if lines is None else _differences(lines, zeros=zeros)
    shares = _shares(x, [*cutting, *([] if within is None else [within])])
    weights = _widths(x, rescale=rescale)[..., None] * np.diff(shares)
    if within is not None:
        middles = (shares[..., 1:] + shares[..., :-1]) / 2
        weights = np.where((_between(within, middles) >= 0).all(axis=-3), weights, 0.0)
    total = weights.sum(axis=(-2, -1), keepdims=True)
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing counts
        return Pieces(x.shape[-1], shares, weights / (total if rescale else total > 0))


def weigh(values: Array, weights: Array) -> Array:
    """Weighted sums `[…]` of values `[…, n]`, of which those that count nothing may be infinite; NaN for ∞ − ∞."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(weights == 0, 0.0, values * weights).sum(axis=-1))


def share_above(x: Array, lines: Array) -> Array:
    """Share `[…]` of the range of `x[points]` on which all straight lines through `lines[…, lines, points]` are ≥ 0."""
    if x[0] == x[-1]:
        return np.asarray((lines >= 0).all(axis=-2).mean(axis=-1))
    above = pieces(x, within=lines, rescale=False)
    return np.asarray(np.nan_to_num(above.weights).sum(axis=(-2, -1)) / (x[-1] - x[0]))


def crossings(left: Array, right: Array) -> Array:
    """At what share of the way from `left` to `right` straight lines cross zero; 0 for those that do not.

    Infinite ends have no straight line, so nothing crosses there.
    """
    inside = np.isfinite(left) & np.isfinite(right) & (np.sign(left) * np.sign(right) < 0)
    fall = np.subtract(left, right, out=np.ones(left.shape), where=inside)
    return np.asarray(np.where(inside, left, 0.0) / fall)


def _differences(lines: Array, *, zeros: bool) -> list[Array]:
    """What changes its sign where lines cross."""
    first, second = np.triu_indices(lines.shape[-2], 1)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        apart = lines[..., first, :] - lines[..., second, :]
        return [apart, lines, lines[..., first, :] + lines[..., second, :]] if zeros else [apart]


def _shares(x: Array, cutting: list[Array]) -> Array:
    """Shares `[…, segments, places]` of each segment at which one of `cutting[…, lines, points]` crosses zero.

    Rising, from 0 to 1.
    """
    segments = max(x.shape[-1] - 1, 1)
    places = [crossings(*_ends(lines)) for lines in cutting]
    outer = np.broadcast_shapes(x.shape[:-1], *(shares.shape[:-2] for shares in places))
    count = sum(shares.shape[-2] for shares in places)
    together = np.empty((*outer, segments, count + 2))
    together[..., 0], together[..., -1], start = 0.0, 1.0, 1
    for shares in places:
        end = start + shares.shape[-2]
        together[..., start:end] = shares.swapaxes(-2, -1)
        start = end
    if count > 1:
        together[..., 1:-1].sort(axis=-1)
    return together


def _widths(x: Array, *, rescale: bool) -> Array:
    return np.diff(x) if x.shape[-1] > 1 else np.full(x.shape, 1.0 if rescale else 0.0)


def _between(lines: Array, shares: Array) -> Array:
    """Values `[…, lines, segments, places]` of lines `[…, lines, points]` at `shares[…, segments, places]`."""
    left, right = (end[..., None] for end in _ends(lines))
    share = shares[..., None, :, :]
    with np.errstate(invalid="ignore"):  # 0 · ∞ at an end of a segment
        return np.asarray(left * (1 - share) + right * share)


def _ends(lines: Array) -> tuple[Array, Array]:
    """Values at the left and the right end of every segment."""
    return (lines, lines) if lines.shape[-1] == 1 else (lines[..., :-1], lines[..., 1:])

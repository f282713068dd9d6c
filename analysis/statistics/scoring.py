"""The metrics of many cells of one shape at once, from their samples.

Both metrics are taken on the mean curves over units: the published estimand. Their intervals come from each unit's own
curve in the order that is best (or highest, or lowest) on the mean curves, piece by piece: its mean over units is the
metric itself, and so is, to first order, its spread. The gap is linear and needs no such step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayci.analysis.statistics.composability import badness, order_sensitivity
from rayci.analysis.statistics.intervals import Summaries, summaries
from rayci.analysis.statistics.piecewise import Array, Kept, Pieces, pieces, weigh
from rayci.kinds import Direction, Scale

NO_TOP = "higher is better and the range has no top: no ideal to be away from"
BOTH_INFINITE = "infinite in every order: ∞ − ∞"
NO_AREA = "one point has no area on an axis that is not rescaled"


@dataclass(frozen=True)
class Reach:
    """Where along the axis metrics are taken; leading axes are cells."""

    x: Array
    """`[…, points]`: places of the points that count, rising."""
    within: Array | None = None
    """`[…, bounds, points]`: lines that must not be below 0 where anything counts; None keeps everything."""
    rescale: bool = True

    def pieces(self, lines: Array | None = None, *, zeros: bool = False) -> Pieces:
        """The pieces between these places, cut where `lines[…, lines, points]` cross."""
        return pieces(self.x, lines, zeros=zeros, within=self.within, rescale=self.rescale)

    def only(self, cells: NDArray[np.intp], points: Kept) -> Reach:
        """Some of the cells, at some of the points."""
        within = None if self.within is None else self.within[cells][..., points]
        return Reach(self.x[cells][..., points], within, self.rescale)

    def of_cell(self, cell: int) -> Reach:
        """The same for one of the cells."""
        return Reach(self.x[cell], None if self.within is None else self.within[cell], self.rescale)

    def of_units(self) -> Reach:
        """The same for each unit of a cell."""
        return Reach(self.x[..., None, :], None if self.within is None else self.within[..., None, :, :], self.rescale)


@dataclass(frozen=True)
class Scores:
    """The metrics of cells, in the criterion's unit (times the axis' where not rescaled); NaN where there is none."""

    order_free_error: Summaries
    """`[cells]`"""
    order_sensitivity: Summaries
    """`[cells]`"""
    gaps: Summaries
    """`[cells, pairs]`: ∫(a − b) of every two orders, in the order of `itertools.combinations`."""
    per_replicate: Array
    """`[cells]`: mean over units of each one's own order sensitivity; noise biases it upward."""
    corrected: Array
    """`[cells]`: order sensitivity without the noise of the mean, √max(0, d² − se²) at each γ; of two orders."""
    by_order: Array
    """`[cells, orders]`: the criterion itself after each order."""
    costs: Array
    """`[cells, orders]`: how bad each order is, less is better; closer to zero: the area of its distance from zero."""
    sensitivity_points: NDArray[np.int64]
    """`[cells]`: fewer than all where every order is infinite."""


def scores(values: Array, scale: Scale, reach: Reach) -> Scores:
    """Metrics of values `[cells, units, orders, points]` without holes, at the places `[cells, points]` of `reach`."""
    cells, units, orders, _ = values.shape
    with np.errstate(invalid="ignore"):  # ∞ − ∞ among units
        mean = values.mean(axis=1)
    finite = ~np.isnan(order_sensitivity(mean.swapaxes(0, 1)))
    spread, gaps = np.full((cells, units), np.nan), np.full((cells, orders * (orders - 1) // 2, units), np.nan)
    per_replicate, corrected = np.full((2, cells), np.nan)
    for points, alike in _patterns(finite):
        some, there = values[alike][..., points], reach.only(alike, points)
        spread[alike], gaps[alike] = spreads(some, there), _gaps(some, there)
        per_replicate[alike] = spreads(some[:, :, None], there.of_units())[..., 0].mean(axis=-1)
        if orders == 2 and units > 1:
            corrected[alike] = _corrected(some, there)
    by_order = weigh(mean, reach.pieces().whole()[:, None])
    return Scores(
        summaries(errors(values, scale, reach)),
        summaries(spread),
        summaries(gaps),
        per_replicate,
        corrected,
        by_order,
        _distances(mean, reach) if scale.direction is Direction.ZERO else badness(by_order, scale),
        finite.sum(axis=-1),
    )


def errors(values: Array, scale: Scale, reach: Reach) -> Array:
    """Order-free error `[…, units]` of values `[…, units, orders, points]`, in the order that is best on mean curves.

    NaN where higher is better and the range has no top.
    """
    higher, zeros = scale.direction is Direction.HIGHER, scale.direction is Direction.ZERO
    if higher and scale.high is None:
        return np.full(values.shape[:-2], np.nan)
    with np.errstate(invalid="ignore"):
        mean = values.mean(axis=-3)
    parts = reach.pieces(mean, zeros=zeros)
    average = parts.means(mean)
    chosen = _one_of(badness(average, scale).argmin(axis=-3), average)
    reached = _weigh(values, parts.coefficients(chosen * np.sign(average) if zeros else chosen))
    if not higher:
        return reached
    return np.asarray((scale.high or 0.0) * parts.weights.sum(axis=(-2, -1))[..., None] - reached)


def spreads(values: Array, reach: Reach) -> Array:
    """Highest minus lowest order `[…, units]` of values `[…, units, orders, points]`, as the mean curves have them."""
    with np.errstate(invalid="ignore"):
        mean = values.mean(axis=-3)
    parts = reach.pieces(mean)
    average = parts.means(mean)
    ends = [_one_of(place, average) for place in (average.argmax(axis=-3), average.argmin(axis=-3))]
    most, least = (_weigh(values, parts.coefficients(chosen)) for chosen in ends)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ where every order is infinite between two points
        return np.asarray(most - least)


def highest(curves: Array, reach: Reach) -> Array:
    """Integral `[…]` of the highest of curves `[…, curves, points]`."""
    parts = reach.pieces(curves)
    average = parts.means(curves)
    return _weigh(curves[..., None, :, :], parts.coefficients(_one_of(average.argmax(axis=-3), average)))[..., 0]


def _distances(mean: Array, reach: Reach) -> Array:
    """∫|κ| `[cells, orders]` of mean curves `[cells, orders, points]`: on both sides of zero it adds up."""
    parts = reach.pieces(mean, zeros=True)
    return weigh(mean, parts.coefficients(np.sign(parts.means(mean))))


def _gaps(values: Array, reach: Reach) -> Array:
    """∫(a − b) of every two orders in each unit `[cells, pairs, units]`."""
    areas = weigh(values, reach.pieces().whole()[:, None, None])
    first, second = np.triu_indices(values.shape[-2], 1)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        return np.asarray(areas[..., first] - areas[..., second]).swapaxes(-2, -1)


def _corrected(values: Array, reach: Reach) -> Array:
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        difference = values[:, :, 0] - values[:, :, 1]
        noise = difference.std(axis=1, ddof=1) ** 2 / difference.shape[1]
        without = np.sqrt(np.maximum(0.0, difference.mean(axis=1) ** 2 - noise))
    return weigh(without, reach.pieces().whole())


def _one_of(place: NDArray[np.intp], lines: Array) -> Kept:
    """Which of `lines[…, lines, segments, pieces]` is the one at `place[…, segments, pieces]`."""
    return np.asarray(place[..., None, :, :] == np.arange(lines.shape[-3])[:, None, None])


def _weigh(values: Array, coefficients: Array) -> Array:
    """Integrals `[…, units]` of values `[…, units, orders, points]` with `coefficients[…, orders, points]`."""
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        return np.asarray(weigh(values, coefficients[..., None, :, :]).sum(axis=-1))


def _patterns(finite: Kept) -> Iterator[tuple[Kept, NDArray[np.intp]]]:
    """Which points count, and the cells of which just these do; none where no point does."""
    distinct, which = np.unique(finite, axis=0, return_inverse=True)
    for number, points in enumerate(distinct):
        if points.any():
            yield points, np.flatnonzero(which == number)

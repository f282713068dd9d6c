"""The metrics of one set of methods on one criterion, from its samples.

Both metrics are taken on the mean curves over units: the published estimand. Their intervals come from each unit's own
curve in the order that is best (or highest, or lowest) on the mean curves, segment by segment: its mean over units is
the metric itself, and so is, to first order, its spread. The gap is linear and needs no such step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rayci.analysis.statistics.composability import badness, order_sensitivity
from rayci.kinds import Direction, Scale
from tests.analysis.oracle.intervals import Summary, summarise
from tests.analysis.oracle.piecewise import Array, Kept, at, cut, segments, weigh, weights

NO_TOP = "higher is better and the range has no top: no ideal to be away from"
BOTH_INFINITE = "infinite in every order: ∞ − ∞"
NO_AREA = "one point has no area on an axis that is not rescaled"


@dataclass(frozen=True)
class Reach:
    """Where along the axis a metric is taken."""

    x: Array
    """Places of the points that count, rising."""
    ends: Array | None = None
    """Places at which the kept ranges begin and end; None keeps everything."""
    kept: Kept | None = None
    """Which segments between `x` and `ends` together are kept."""
    rescale: bool = True

    def refined(self, places: Array) -> tuple[Array, Array]:
        """All places with the ends of the kept ranges among them, and the weight of every segment between them."""
        if self.ends is None or self.kept is None:
            return places, weights(places, rescale=self.rescale)
        coarse, fine = np.union1d(self.x, self.ends), np.union1d(places, self.ends)
        inside = self.kept[np.clip(np.searchsorted(coarse, fine[:-1], side="right") - 1, 0, len(self.kept) - 1)]
        return fine, weights(fine, inside, rescale=self.rescale)


@dataclass(frozen=True)
class Score:
    """The metrics of one cell, in the criterion's unit (times the axis' where not rescaled)."""

    order_free_error: Summary
    order_sensitivity: Summary
    gaps: tuple[Summary, ...]
    """∫(a − b) of every two orders, in the order of `itertools.combinations`; none where every order is infinite."""
    per_replicate: float | None
    """Mean over units of each one's own order sensitivity; noise biases it upward."""
    corrected: float | None
    """Order sensitivity without the noise of the mean, √max(0, d² − se²) at each γ; null for more than two orders."""
    by_order: tuple[float | None, ...]
    """The criterion itself after each order."""
    costs: tuple[float, ...]
    """How bad each order is; closer to zero: the area of its distance from zero."""
    sensitivity_points: int
    """Fewer than all where every order is infinite."""
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> Summary:
        """∫(a − b) of two orders; empty for more."""
        return self.gaps[0] if len(self.gaps) == 1 else summarise([])


def score(values: Array, scale: Scale, reach: Reach) -> Score:
    """Metrics of values `[units, orders, points]` without holes, at the places of `reach`."""
    mean = values.mean(axis=0)
    finite = ~np.isnan(order_sensitivity(mean))
    differing = (
        values[..., finite],
        replace(reach, x=reach.x[finite]) if finite.all() else Reach(reach.x[finite], rescale=reach.rescale),
    )
    two = len(mean) == 2 and bool(finite.any())
    return Score(
        summarise(list(_error(values, scale, reach))),
        summarise(list(_spread(*differing)) if finite.any() else []),
        tuple(summarise(list(gap)) for gap in _gaps(*differing)) if finite.any() else (),
        _plain(np.mean([_spread(unit[None], differing[1])[0] for unit in differing[0]])) if finite.any() else None,
        _plain(_corrected(*differing)) if two and len(values) > 1 else None,
        tuple(_plain(value) for value in _areas(mean, reach)),
        tuple(_distances(mean, reach) if scale.direction is Direction.ZERO else badness(_areas(mean, reach), scale)),
        int(finite.sum()),
        tuple(_notes(scale, finite, reach)),
    )


def _error(values: Array, scale: Scale, reach: Reach) -> Array:
    """Each unit's order-free error `[units]` in the order that is best on the mean curves."""
    if scale.direction is Direction.HIGHER and scale.high is None:
        return np.full(len(values), np.nan)
    mean = values.mean(axis=0)
    places, weight = reach.refined(cut(reach.x, mean, zeros=scale.direction is Direction.ZERO))
    lines, average = segments(at(reach.x, values, places)), segments(at(reach.x, mean, places))
    order = badness(average, scale).argmin(axis=0)
    chosen = _taken(lines, order)
    if scale.direction is Direction.HIGHER:
        return weigh((scale.high or 0.0) - chosen, weight)
    return weigh(
        chosen * np.sign(_taken(average[None], order)) if scale.direction is Direction.ZERO else chosen, weight
    )


def _spread(values: Array, reach: Reach) -> Array:
    """Each unit's highest minus lowest order `[units]`, as the mean curves have them."""
    mean = values.mean(axis=0)
    places, weight = reach.refined(cut(reach.x, mean))
    lines, average = segments(at(reach.x, values, places)), segments(at(reach.x, mean, places))
    with np.errstate(invalid="ignore"):
        return weigh(_taken(lines, average.argmax(axis=0)) - _taken(lines, average.argmin(axis=0)), weight)


def _gaps(values: Array, reach: Reach) -> Array:
    """∫(a − b) of every two orders in each unit `[pairs, units]`."""
    pairs = itertools.combinations(range(values.shape[1]), 2)
    with np.errstate(invalid="ignore"):
        differences = np.stack([values[:, first] - values[:, second] for first, second in pairs])
    places, weight = reach.refined(reach.x)
    return weigh(segments(at(reach.x, differences, places)), weight)


def _corrected(values: Array, reach: Reach) -> Array:
    with np.errstate(invalid="ignore"):
        difference = values[:, 0] - values[:, 1]
        noise = difference.std(axis=0, ddof=1) ** 2 / len(difference)
        without = np.sqrt(np.maximum(0.0, difference.mean(axis=0) ** 2 - noise))
    places, weight = reach.refined(reach.x)
    return weigh(segments(at(reach.x, without, places)), weight)


def _areas(mean: Array, reach: Reach) -> Array:
    places, weight = reach.refined(reach.x)
    return weigh(segments(at(reach.x, mean, places)), weight)


def _distances(mean: Array, reach: Reach) -> Array:
    """∫|κ| of every order `[orders]`."""
    places, weight = reach.refined(cut(reach.x, mean, zeros=True))
    return weigh(np.abs(segments(at(reach.x, mean, places))), weight)


def _taken(lines: Array, order: np.ndarray) -> Array:
    """Of lines `[units, orders, segments]` the one of `order[segments]` in each segment: `[units, segments]`."""
    return np.take_along_axis(lines, order[None, None], axis=1)[:, 0]


def _notes(scale: Scale, finite: Kept, reach: Reach) -> Iterator[str]:
    if scale.direction is Direction.HIGHER and scale.high is None:
        yield NO_TOP
    if not finite.all():
        yield BOTH_INFINITE
    if len(reach.x) == 1 and not reach.rescale:
        yield NO_AREA


def _plain(value: float | np.floating | Array) -> float | None:
    return None if np.isnan(value) else float(value)

"""Metrics of orders that were measured once: the items that every order answered are the units.

Nothing tells the noise of a single measurement but its items, and both orders answered the same ones: what an item
counted after one order minus what it counted after the other, integrated over γ with the weights of the area, is one
draw of the gap, and its mean over items is the gap itself. So it is of the other metrics, in the order that is best (or
highest, or lowest) on the mean curves. Pure arrays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import bdtr, stdtr, stdtrit

from rayci.analysis.statistics.intervals import LEAST_UNITS, LEVEL, Summary, summarise
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach, errors, spreads
from rayci.kinds import Direction, Scale


@dataclass(frozen=True)
class ItemCurves:
    """What every item counted, in every order and at every γ."""

    values: Array
    """`[items, orders, points]`, finite; the mean over items is the criterion."""
    right_or_wrong: bool
    """Whether every value is 0 or 1, and every item weighs the same."""


@dataclass(frozen=True)
class ItemScores:
    """The metrics of one cell, their intervals over items."""

    order_free_error: Summary
    order_sensitivity: Summary
    gaps: tuple[Summary, ...]


def item_curves(values: Array, weights: Array | None = None, *, exponential: bool = False) -> ItemCurves:
    """Curves from what items counted `[items, orders, points]`, and how much each weighs `[items]`.

    A weighted mean is a ratio of sums: item i stands for m + w_i/w̄ · (v_i − m), which has its mean m, and to first
    order its variance over items (Cochran 1977, eq. 6.13). `exponential`: the criterion is exp of that mean, as a
    perplexity is; its items are taken along the tangent there.
    """
    right_or_wrong = weights is None and bool(((values == 0) | (values == 1)).all())
    if weights is not None:
        share = (weights / weights.mean())[:, None, None]
        mean = (share * values).mean(axis=0)
        values = mean + share * (values - mean)
    if exponential:
        mean = values.mean(axis=0)
        values = np.exp(mean) * (1 + values - mean)
    return ItemCurves(values, right_or_wrong and not exponential)


def item_scores(curves: ItemCurves, scale: Scale, reach: Reach) -> ItemScores:
    """The metrics of one cell with intervals over its items, as `scoring.scores` has them over units."""
    coefficients = reach.pieces().whole()
    return ItemScores(
        _bounded(errors(curves.values, scale, reach), _ends(scale, coefficients)),
        paired(spreads(curves.values, reach), _flip(scale, coefficients)),
        item_gaps(curves, scale, coefficients),
    )


def item_gaps(curves: ItemCurves, scale: Scale, coefficients: Array) -> tuple[Summary, ...]:
    """∫(a − b) of every two orders, with interval and p over items, in the order of `itertools.combinations`.

    `coefficients[points]`: what each point counts in the integral. Where nothing is swept, or at one γ, the p of right
    or wrong is McNemar's exact one.
    """
    exact, flip = curves.right_or_wrong and len(coefficients) == 1, _flip(scale, coefficients)
    areas = curves.values @ coefficients
    pairs = itertools.combinations(range(areas.shape[1]), 2)
    return tuple(paired(areas[:, first] - areas[:, second], flip, exact=exact) for first, second in pairs)


def paired(differences: Array, flip: float | None = None, *, exact: bool = False) -> Summary:
    """Mean of items' differences `[items]`, with Student-t interval and p over items.

    `flip`: what an item that changes its mind moves, in root mean square. Half an item that does so in each direction,
    and one that does not, are added: for right and wrong Agresti and Min's interval (2005, Statistics in Medicine 24,
    section 2), which covers also where few items differ; with none that does, the plain one has no width at all. None
    where the range is open: nothing is added. `exact`: the p is that of McNemar's exact test.
    """
    added = () if flip is None else (-flip / math.sqrt(2), flip / math.sqrt(2))  # with the variance of these halves
    summary = _with_added(differences, added)
    if not exact:
        return summary
    return replace(summary, p=mcnemar(int((differences > 0).sum()), int((differences < 0).sum())))


def _bounded(values: Array, ends: tuple[float, float] | None) -> Summary:
    """Mean of items' values `[items]` within a range, two items added at each of its `ends`.

    For right and wrong Agresti and Coull's interval (1998, The American Statistician 52).
    """
    return _with_added(values, () if ends is None else ends * 2)


def _with_added(values: Array, added: Sequence[float]) -> Summary:
    """The mean of `values`, and Student-t interval and p as if the `added` ones were there as well."""
    plain, count = summarise(values.tolist()), len(values)
    if not added or plain.mean is None or count < LEAST_UNITS:
        return plain
    everything = np.concatenate([values, added])
    centre, stderr = float(everything.mean()), float(everything.std()) / math.sqrt(len(everything))
    half = float(stdtrit(count - 1, 1 - LEVEL / 2)) * stderr
    p = float(2 * stdtr(count - 1, -abs(centre) / stderr))
    return Summary(plain.mean, stderr, centre - half, centre + half, p, count)


def _flip(scale: Scale, coefficients: Array) -> float | None:
    """What an item that changes its mind moves a gap; None where the range is open."""
    return None if scale.width is None else scale.width * float(np.linalg.norm(coefficients))


def _ends(scale: Scale, coefficients: Array) -> tuple[float, float] | None:
    """The best and the worst that the order-free error can be; None where it has no end."""
    if scale.low is None or scale.high is None or scale.direction is Direction.ZERO:
        return None
    best, worst = (0.0, scale.high - scale.low) if scale.direction is Direction.HIGHER else (scale.low, scale.high)
    length = float(coefficients.sum())
    return best * length, worst * length


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p that as many items are right after the first order alone as after the second alone."""
    differing = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), differing, 0.5))) if differing else 1.0

"""What units say together: Student-t means and tests, Holm's adjustment, equivalence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats would take most of a second to import

from rayci.analysis.statistics.piecewise import Array, Kept

LEVEL = 0.05
_NORMAL = 1e9
"""Degrees of freedom at which t is normal."""
LEAST_UNITS = 3
"""Below three units there is no interval: of two values the values themselves say more."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Units of one metric in the metric's own unit; None where it cannot be known."""

    mean: float | None
    stderr: float | None
    """Standard error of the mean (n − 1 in the variance); None below two units."""
    low: float | None
    """Lower end of the 95 % Student-t interval of the mean."""
    high: float | None
    p: float | None
    """Two-sided p of the mean being zero."""
    n: int

    def within(self, margin: float) -> bool:
        """Whether the mean is shown to lie inside ± `margin`: two one-sided tests at 5 %, the 90 % interval inside."""
        if self.mean is None or self.stderr is None or self.n < LEAST_UNITS:
            return False
        return abs(self.mean) + float(stdtrit(self.n - 1, 1 - LEVEL)) * self.stderr < margin


@dataclass(frozen=True)
class Summaries:
    """The same of many cells: arrays of one shape, NaN where a number cannot be known."""

    mean: Array
    stderr: Array
    low: Array
    high: Array
    p: Array
    n: int

    def within(self, margin: Array) -> Kept:
        """Whether each mean is shown to lie inside ± `margin`, as in `Summary`; not where the margin is NaN."""
        if self.n < LEAST_UNITS:
            return np.zeros(self.mean.shape, dtype=bool)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.abs(self.mean) + stdtrit(self.n - 1, 1 - LEVEL) * self.stderr < margin)

    def each(self) -> Iterator[Summary]:
        """One cell after the other."""
        columns = (self.mean, self.stderr, self.low, self.high, self.p)
        for numbers in zip(*(np.ravel(column).tolist() for column in columns), strict=True):
            mean, stderr, low, high, p = (None if math.isnan(number) else number for number in numbers)
            yield Summary(mean, stderr, low, high, p, self.n)


def summaries(values: Array) -> Summaries:
    """Means over the units of `values[…, units]` with Student-t intervals and p from three finite units on.

    An infinite unit makes the mean infinite and leaves no interval; without units there is no mean.
    """
    count, unknown = values.shape[-1], np.full(values.shape[:-1], np.nan)
    if not count:
        return Summaries(unknown, unknown, unknown, unknown, unknown, 0)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        mean = values.mean(axis=-1)
    if count == 1:
        return Summaries(mean, unknown, unknown, unknown, unknown, 1)
    finite = np.isfinite(mean)
    centre = np.where(finite, mean, 0.0)
    spread = np.where(finite[..., None], values, 0.0).std(axis=-1, ddof=1) / math.sqrt(count)
    stderr = np.where(finite, spread, np.nan)
    if count < LEAST_UNITS:
        return Summaries(mean, stderr, unknown, unknown, unknown, count)
    half = stdtrit(count - 1, 1 - LEVEL / 2) * stderr
    p = np.where(finite, _p(centre, spread, count), np.nan)
    return Summaries(mean, stderr, centre - half, centre + half, p, count)


def summarise(values: Sequence[float]) -> Summary:
    """As `summaries`, of one cell."""
    return next(summaries(np.asarray(values, dtype=np.float64)).each())


def of_items(mean: float, stderr: float | None, items: int, *, share: bool) -> Summary:
    """One unit with the 95 % interval of its mean over `items`.

    Of a `share` (values in [0, 1]) Wilson's score interval, which stays wide where every item agrees and covers what is
    not right or wrong only as well, whose variance is smaller; otherwise normal, and none without a standard error.
    """
    z = float(ndtri(1 - LEVEL / 2))
    if share and items and 0 <= mean <= 1:
        centre = (mean + z * z / (2 * items)) / (1 + z * z / items)
        half = z / (1 + z * z / items) * math.sqrt(mean * (1 - mean) / items + (z / (2 * items)) ** 2)
        return Summary(mean, half / z, centre - half, centre + half, None, 1)
    if stderr is None or not math.isfinite(mean):
        return Summary(mean, None, None, None, None, 1)
    return Summary(mean, stderr, mean - z * stderr, mean + z * stderr, None, 1)


def difference(first: Summary, second: Summary) -> Summary:
    """First minus second of independent units: Welch's t; of one measurement's items, that many that they are normal.

    A side without an interval counts as exact, so that the interval is that of the other. Null where a mean is, or
    where both are the same infinity.
    """
    if first.mean is None or second.mean is None or (math.isinf(first.mean) and first.mean == second.mean):
        return Summary(None, None, None, None, None, 0)
    mean = first.mean - second.mean
    noisy = [side for side in (first, second) if side.low is not None and side.stderr is not None]
    count = sum(side.n for side in noisy)
    if not noisy or not math.isfinite(mean):
        return Summary(mean, None, None, None, None, count)
    variances = [(side.stderr or 0.0) ** 2 for side in noisy]
    stderr = math.sqrt(sum(variances))
    if stderr == 0.0:
        return Summary(mean, 0.0, mean, mean, float(mean == 0.0), count)
    lost = sum(v**2 / (side.n - 1) for v, side in zip(variances, noisy, strict=True) if side.n > 1)
    freedom = stderr**4 / lost if lost else _NORMAL
    half = float(stdtrit(freedom, 1 - LEVEL / 2)) * stderr
    return Summary(mean, stderr, mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean) / stderr)), count)


def holm(ps: Array | Sequence[float | None]) -> Array:
    """Holm's step-down adjustment over the p that are there, each in its place; NaN for those that are not."""
    known = np.asarray(ps, dtype=np.float64)
    adjusted = np.full(len(known), np.nan)
    order = np.argsort(known, kind="stable")[: int((~np.isnan(known)).sum())]
    steps = np.minimum(1.0, known[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


def _p(mean: Array, stderr: Array, count: int) -> Array:
    """Two-sided p; without any spread only a mean of exactly zero is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(mean == 0.0, 0.0, np.abs(mean) / stderr)
    return np.asarray(2 * stdtr(count - 1, -ratio))

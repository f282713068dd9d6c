"""What units say together: Student-t means and tests, Holm's adjustment, equivalence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats would take most of a second to import

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


def summarise(values: Sequence[float]) -> Summary:
    """Mean over units with Student-t interval and p from three finite units on.

    An infinite unit makes the mean infinite and leaves no interval; without units there is no mean.
    """
    count = len(values)
    numbers = np.asarray(values, dtype=np.float64)
    if not count or np.isnan(numbers).any():
        return Summary(None, None, None, None, None, count)
    if not np.isfinite(numbers).all():
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            total = float(numbers.sum())
        return Summary(None if math.isnan(total) else total, None, None, None, None, count)
    mean = math.fsum(values) / count
    if count == 1:
        return Summary(mean, None, None, None, None, 1)
    stderr = float(numbers.std(ddof=1) / math.sqrt(count))
    if count < LEAST_UNITS:
        return Summary(mean, stderr, None, None, None, count)
    half = float(stdtrit(count - 1, 1 - LEVEL / 2)) * stderr
    return Summary(mean, stderr, mean - half, mean + half, _p(mean, stderr, count), count)


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
        return Summary(mean, 0.0, mean, mean, _p(mean, 0.0, count), count)
    lost = sum(v**2 / (side.n - 1) for v, side in zip(variances, noisy, strict=True) if side.n > 1)
    freedom = stderr**4 / lost if lost else _NORMAL
    half = float(stdtrit(freedom, 1 - LEVEL / 2)) * stderr
    return Summary(mean, stderr, mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean) / stderr)), count)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment over the p that are there, each in its place."""
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        adjusted[place] = least
    return adjusted


def _p(mean: float, stderr: float, count: int) -> float:
    if stderr == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return float(2 * stdtr(count - 1, -abs(mean) / stderr))

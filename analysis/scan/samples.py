"""The values of one set of methods and one criterion as an array: units × orders × γ.

The unit of every interval is the edit batch; seeds are averaged within a batch first. Where nothing depends on an
edit batch, seeds are the unit. A value that is missing is NaN in the array, and its reason is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayci.analysis.scan.curve import ABSENT
from rayci.analysis.scan.family import Family, Order
from rayci.analysis.scan.runs import Runs
from rayci.analysis.statistics.piecewise import Array, Kept


@dataclass(frozen=True, slots=True)
class Gap:
    """One γ of one order that has no value."""

    order: str
    strength: float | None
    """None where the order has no rows at all, or nothing is swept."""
    reason: str


@dataclass(frozen=True)
class Samples:
    """What was measured of one family and criterion."""

    orders: tuple[Order, ...]
    """Every order of the methods, whether it ran or not."""
    grid: tuple[float | None, ...]
    """Every γ that any order or replicate has; one None where nothing is swept."""
    values: Array
    """`[units, orders, points]`; NaN where there is no value."""
    units: str | None
    """`replicates`, `seeds`, or None where there is one measurement of everything."""
    gaps: Mapping[Gap, int]
    """What is missing, and in how many of the runs."""
    runs: int
    """Curves of one order: units times seeds."""

    @property
    def present(self) -> Kept:
        """`[points]`: γ at which every order has a value in every unit."""
        return np.asarray(~np.isnan(self.values).any(axis=(0, 1)))

    @property
    def asked(self) -> bool:
        """Whether every order has rows, be they failures: else nobody asked for a comparison."""
        return not any(gap.strength is None and gap.reason == ABSENT for gap in self.gaps)

    def only(self, points: Sequence[int]) -> Samples:
        """The same at some points of the grid; gaps elsewhere are left out."""
        grid = tuple(self.grid[point] for point in points)
        gaps = {gap: count for gap, count in self.gaps.items() if gap.strength in grid or gap.strength is None}
        return Samples(self.orders, grid, self.values[..., list(points)], self.units, gaps, self.runs)


def samples(family: Family, criterion: str) -> Samples:
    """The values of a family; empty where the criterion was not measured on it."""
    orders, runs = family.orders, family.runs.get(criterion)
    if runs is None:
        return Samples(orders, family.grid, np.empty((0, len(orders), len(family.grid))), None, {}, 0)
    ran = runs.ran
    values = _averaged(runs, ran)
    gaps = _gaps(runs, ran, orders, family.grid) if np.isnan(values).any() else {}
    return Samples(orders, family.grid, values, _named(runs), gaps, int(ran.sum()))


def _averaged(runs: Runs, ran: Kept) -> Array:
    """`[units, orders, points]`: the seeds of one edit batch averaged; without batches, each seed."""
    if runs.replicates == (None,):
        return np.asarray(runs.values[0][ran[0]])
    if len(runs.seeds) == 1:
        return runs.values[:, 0] if ran.all() else runs.values[:, 0][ran[:, 0]]
    held = np.flatnonzero(ran.any(axis=1))
    with np.errstate(invalid="ignore"):  # ∞ − ∞ among seeds
        total = np.where(ran[..., None, None], runs.values, 0.0)[held].sum(axis=1)
    return np.asarray(total / ran[held].sum(axis=1)[:, None, None])


def _gaps(runs: Runs, ran: Kept, orders: Sequence[Order], grid: Sequence[float | None]) -> dict[Gap, int]:
    """What has no value, as it is met run by run, and in how many runs; an order without any row is one gap."""
    rows = runs.rows[ran]
    absent = np.asarray((rows < 0).all(axis=2))
    run, order, point = np.nonzero(np.isnan(runs.values[ran]))
    once = ~absent[run, order] | (point == 0)
    run, order, point = run[once], order[once], point[once]
    row = rows[run, order, point]
    reason = np.where(row < 0, -1, runs.reason.codes[row])
    point = np.where(absent[run, order], -1, point)
    # As one number, of which the distinct ones are found fast.
    keys = (order * (len(grid) + 1) + point + 1) * (len(runs.reason.names) + 1) + reason + 1
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    gaps: dict[Gap, int] = {}
    for place, count in sorted(zip(first.tolist(), counts.tolist(), strict=True)):
        name = " > ".join(variant.label for variant in orders[order[place]])
        text = runs.reason.names[reason[place]] if reason[place] >= 0 else ""
        gap = Gap(name, None if point[place] < 0 else grid[point[place]], text or ABSENT)
        gaps[gap] = gaps.get(gap, 0) + count
    return gaps


def _named(runs: Runs) -> str | None:
    if runs.replicates != (None,):
        return "replicates"
    return None if runs.seeds == (None,) else "seeds"

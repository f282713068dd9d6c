"""The values of one set of methods and one criterion as an array: units × orders × γ.

The unit of every interval is the edit batch; seeds are averaged within a batch first. Where nothing depends on an
edit batch, seeds are the unit. A value that is missing is NaN in the array, and its reason is kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.analysis.oracle.curve import ABSENT, Curve, Family, Order, family_curves, orders_of
from tests.analysis.oracle.piecewise import Array, Kept

Unit = tuple[int | None, int | None]
"""Replicate and seed of a curve."""


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
    def ran(self) -> bool:
        """Whether every order has a value somewhere."""
        return bool(self.values.size) and not np.isnan(self.values).all(axis=(0, 2)).any()

    @property
    def asked(self) -> bool:
        """Whether every order has rows, be they failures: else nobody asked for a comparison."""
        return not any(gap.strength is None and gap.reason == ABSENT for gap in self.gaps)

    def only(self, points: Sequence[int]) -> Samples:
        """The same at some points of the grid; gaps elsewhere are left out."""
        grid = tuple(self.grid[point] for point in points)
        gaps = {gap: count for gap, count in self.gaps.items() if gap.strength in grid or gap.strength is None}
        return Samples(self.orders, grid, self.values[..., list(points)], self.units, gaps, self.runs)

    def logarithm(self) -> Samples:
        """The same with natural logarithms in the place of the values."""
        with np.errstate(divide="ignore"):
            return Samples(self.orders, self.grid, np.log(self.values), self.units, self.gaps, self.runs)


def samples(family: Family, criterion: str) -> Samples:
    """The values of a family; empty where the criterion was not measured on it."""
    orders, grid = tuple(orders_of(family.pair)), tuple(family.grid)
    by_unit: dict[Unit, dict[Order, Curve]] = {}
    for curve in family_curves(family, criterion):
        by_unit.setdefault((curve.replicate, curve.seed), {})[curve.order] = curve
    values = np.full((len(by_unit), len(orders), len(grid)), np.nan)
    gaps: dict[Gap, int] = {}
    for row, curves in zip(values, by_unit.values(), strict=True):
        for index, order in enumerate(orders):
            row[index] = _ordinates(curves.get(order), len(grid))
            for gap in _missing(order, curves.get(order)):
                gaps[gap] = gaps.get(gap, 0) + 1
    batches = _batches(by_unit)
    averaged = np.stack([values[members].mean(axis=0) for members in batches]) if batches else values
    return Samples(orders, grid, averaged, _named(by_unit), gaps, len(by_unit))


def _ordinates(curve: Curve | None, points: int) -> Array:
    if curve is None:
        return np.full(points, np.nan)
    return np.array([np.nan if point.value is None else point.value for point in curve.points])


def _missing(order: Order, curve: Curve | None) -> list[Gap]:
    if curve is None:
        return [Gap(" > ".join(variant.label for variant in order), None, ABSENT)]
    return [Gap(curve.name, p.strength, p.reason or ABSENT) for p in curve.points if p.value is None]


def _batches(units: Iterable[Unit]) -> list[list[int]]:
    """Positions of the units that are averaged together: the seeds of one edit batch."""
    members: dict[object, list[int]] = {}
    for position, (replicate, seed) in enumerate(units):
        members.setdefault(("seed", seed) if replicate is None else replicate, []).append(position)
    return list(members.values())


def _named(units: Iterable[Unit]) -> str | None:
    held = list(units)
    if any(replicate is not None for replicate, _ in held):
        return "replicates"
    return "seeds" if any(seed is not None for _, seed in held) else None

"""Oriented curves: one criterion over γ, for one order of one set of methods and one replicate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rayci.analysis.scan.cells import final_cells
from rayci.analysis.scan.family import Family, Order, families
from rayci.analysis.scan.runs import Runs
from rayci.analysis.scan.variant import Variant
from rayci.errors import RequestError, nearest
from rayci.table import ResultTable

ABSENT = "not in the table"


@dataclass(frozen=True, slots=True)
class Point:
    """A value at one γ, or the reason why there is none; γ is None where nothing is swept."""

    strength: float | None
    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Curve:
    """One criterion over γ for one order of methods."""

    pair: Order
    """The methods whatever their order, sorted by kind and name; two, or one, or more."""
    order: Order
    """The methods as applied, first to last."""
    axis: Variant | None
    """The method whose γ runs along the curve; None where no step has a γ."""
    criterion: str
    replicate: int | None
    """Edit batch; None where no row of these methods and this criterion has one."""
    seed: int | None
    points: tuple[Point, ...]
    """By rising γ; every γ that any order or replicate of these methods has."""

    def __repr__(self) -> str:
        unit = "".join(
            f", {name} {place}"
            for name, place in (("replicate", self.replicate), ("seed", self.seed))
            if place is not None
        )
        known = sum(point.value is not None for point in self.points)
        return f"Curve({self.name}: {self.criterion}{unit}, {known} of {len(self.points)} points)"

    @property
    def name(self) -> str:
        """The order as text, `memit > wanda`."""
        return " > ".join(variant.label for variant in self.order)


def curves(table: ResultTable, criteria: Sequence[str] | None = None, along: str | None = None) -> list[Curve]:
    """Every curve of a table, singles and longer compositions included.

    The axis is the γ of the compressor, or of the method `along`; other γ and all settings
    tell curves apart. Rows with no replicate (or seed) join every replicate (or seed).
    Raises RequestError where `along` is no method with a γ, and for a criterion that the table lacks.
    """
    for name in criteria or ():
        if name not in table.scales:
            near = nearest(name, table.scales)
            raise RequestError(f"criterion {name!r} is not in the table", allowed=", ".join(table.scales), hint=near)
    return [
        curve
        for family in families(final_cells(table), along)
        for criterion in family.runs
        if criteria is None or criterion in criteria
        for curve in family_curves(family, criterion)
    ]


def family_curves(family: Family, criterion: str) -> Iterator[Curve]:
    """The curves of one family and criterion: one for each run and each order that has rows in it."""
    if criterion not in family.runs:
        return
    runs, orders = family.runs[criterion], family.orders
    for replicate, seed in np.argwhere(runs.ran):
        for place, order in enumerate(orders):
            if (runs.rows[replicate, seed, place] >= 0).any():
                points = tuple(_points(family, runs, (replicate, seed, place)))
                unit = runs.replicates[replicate], runs.seeds[seed]
                yield Curve(family.pair, order, family.axis, criterion, *unit, points)


def _points(family: Family, runs: Runs, curve: tuple[int, int, int]) -> Iterator[Point]:
    for gamma, value, row in zip(family.grid, runs.values[curve].tolist(), runs.rows[curve].tolist(), strict=True):
        if row < 0:
            yield Point(gamma, None, ABSENT)
        else:
            yield Point(gamma, None if np.isnan(value) else value, runs.reason[row])

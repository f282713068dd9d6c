"""Where the curves of a set of methods are read: once for all criteria."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rayci.analysis.composing.average_bits import bits_of
from rayci.analysis.composing.bounded import Bounds, Leeway
from rayci.analysis.composing.fixed_range import Range, within_range
from rayci.analysis.composing.item_readings import ItemReadings
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.reading_point import Place, same
from rayci.analysis.statistics.piecewise import Array


@dataclass(frozen=True)
class Reading:
    """Where and how every cell of a table is read."""

    place: Place
    axis: str
    """`scaled`, `gamma` or `avg_bits`."""
    bounds: Bounds | None
    margin: float
    """Share of a criterion's range within which orders count as equal."""
    items: ItemReadings
    """What tells of gaps where there is one measurement."""
    over: Mapping[str, Range] | None = None
    """Range of γ of areas, by strength or method name."""

    @property
    def rescale(self) -> bool:
        """Whether integrals stay in the criterion's unit."""
        return self.axis == "scaled" or not self.place.is_area


@dataclass(frozen=True)
class FamilyReading:
    """Where one set of methods is read."""

    family: Family
    strength: float | None
    """γ of the point form."""
    problem: str | None
    """Why there is nothing to read."""
    points: tuple[int, ...]
    """Of the family's grid."""
    gammas: Array
    """`[points]`; NaN where nothing is swept."""
    x: Array
    """`[points]`: places on the axis; NaN where there is none."""
    refused: Mapping[float | None, str]
    """γ -> why it has no place."""
    leeway: Leeway | None
    """What bounds leave, at these points."""
    orders: tuple[str, ...]
    """Every order as text, `memit > wanda`."""
    columns: tuple[int, ...]
    """Which permutation of the methods each order is."""


def read_family(family: Family, reading: Reading) -> FamilyReading:
    """Resolve where a set of methods is read."""
    strength, problem = _gamma(family, reading.place)
    grid = family.grid
    points = tuple(range(len(grid))) if strength is None or problem else (grid.index(strength),)
    gammas = [grid[point] for point in points]
    on_bits = reading.axis == "avg_bits" and reading.place.is_area
    places = bits_of(family) if on_bits else {gamma: 0.0 if gamma is None else gamma for gamma in gammas}
    refused = {gamma: places[gamma] for gamma in gammas if isinstance(places[gamma], str)}
    permutations = list(itertools.permutations(family.pair))
    leeways = [reading.bounds.leeway(family)] if reading.bounds is not None else []
    if reading.over is not None:
        ranged, beyond = within_range(family, reading.over)
        leeways, problem = [*leeways, ranged], problem or beyond
    leeway = Leeway.of(leeways, points) if leeways else None
    return FamilyReading(
        family,
        strength,
        problem,
        points,
        np.array(gammas, dtype=np.float64),
        np.array([np.nan if gamma in refused else places[gamma] for gamma in gammas], dtype=np.float64),
        {gamma: str(problem) for gamma, problem in refused.items()},
        leeway,
        tuple(" > ".join(variant.label for variant in order) for order in family.orders),
        tuple(permutations.index(order) for order in family.orders),
    )


def _gamma(family: Family, where: Place) -> tuple[float | None, str | None]:
    """γ of the point form on this family's axis, or why there is none."""
    if where.is_area or family.axis is None:
        return None, None
    gamma, name = where.of(family.axis), family.axis.strength_name
    if gamma is None:
        return None, f"no {name} was asked for"
    for held in family.grid:
        if held is not None and same(held, gamma):
            return held, None
    there = ", ".join(f"{held:g}" for held in family.grid if held is not None)
    return gamma, f"{name} {gamma:g} is not in the sweep of {family.axis.label}: {there}"

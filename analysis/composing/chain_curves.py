"""Curves of several chains over one grid, on the γ that all of them have: what differences of chains are taken on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rayci.analysis.composing.item_readings import ItemReadings
from rayci.analysis.scan.asked import Asked, Composition
from rayci.analysis.scan.cells import final_cells
from rayci.analysis.scan.chain_values import After, Chains, ChainValues
from rayci.analysis.scan.family import ALL_ORDERS, Family, Order, families, orders_of
from rayci.analysis.scan.reading_point import Place, same
from rayci.analysis.scan.variant import Variant, without_strength
from rayci.analysis.statistics.composability import badness
from rayci.analysis.statistics.intervals import LEAST_UNITS, Summary
from rayci.analysis.statistics.piecewise import Array, pieces, weigh
from rayci.kinds import Direction, Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

NOWHERE = "the sweep has no such strength"
INFINITE = "infinite: ∞ − ∞ has no value"
TYPES = {
    **dict.fromkeys(("n_points", "points_asked", "n_replicates", "interaction_points"), "Int64"),
    **dict.fromkeys(("n_pairs", "pairs_asked", "n_orders", "orders_run", "orders_asked"), "Int64"),
    **dict.fromkeys(("interval_of", "unit", "direction", "reason"), "string"),
    "strength": "Float64",
}
"""Types of what every table of chain curves says of its rows."""


@dataclass(frozen=True)
class ChainCurves:
    """Curves on their common support."""

    values: Array
    """`[units, curves, points]` without holes; logarithms where the scale says so and an area is asked for."""
    x: Array
    """γ of the points, rising."""
    scale: Scale
    about: Mapping[str, Any]
    """The columns of TYPES, and why points or all are missing."""

    def areas(self) -> Array:
        """Integral of each curve over γ rescaled to [0, 1] `[units, curves]`; no unit where there is no point."""
        if not len(self.x):
            return np.empty((0, self.values.shape[1]))
        if len(self.x) == 1:
            return self.values[..., 0]
        return weigh(self.values, pieces(self.x, rescale=True).whole())

    def badness(self) -> Array:
        """How bad each curve is on the whole `[units, curves]`, less is better: the areas of `distances`."""
        if self.scale.direction is Direction.ZERO:
            return self.distances().areas()
        return badness(self.areas(), self.scale)

    def distances(self) -> Distances:
        """How bad each curve is: −κ, κ, or the distance from zero."""
        zeros = self.scale.direction is Direction.ZERO
        mean = self.values.mean(axis=0)
        parts = pieces(self.x, mean, zeros=zeros, rescale=True)
        lines, average = parts.means(self.values), parts.means(mean)
        turned = lines * np.sign(average) if zeros else badness(lines, self.scale)
        flat = [each.reshape(*each.shape[:-2], -1) for each in (turned, badness(average, self.scale), parts.weights)]
        return Distances(*flat)


@dataclass(frozen=True)
class Distances:
    """Curves turned so that less is better, on the pieces between all crossings of the mean curves.

    Distance from zero is measured on the side on which the mean curve lies, so that noise does not add up.
    """

    units: Array
    """`[units, curves, pieces]`"""
    mean: Array
    """`[curves, pieces]`"""
    weight: Array
    """`[pieces]`, adding up to 1."""

    def areas(self) -> Array:
        """Each curve's mean distance `[units, curves]`."""
        return weigh(self.units, self.weight)


@dataclass(frozen=True)
class Grid:
    """The γ of a family at which its chains are read."""

    family: Family
    gammas: tuple[float | None, ...]
    strength: float | None
    """γ of the point form; None for the area, and where nothing is swept."""
    is_area: bool

    def steps(self, order: Sequence[Variant], gamma: float | None) -> Composition:
        """The steps as asked of methods in this order, at this γ of the axis."""
        axis = self.family.axis
        return tuple(Asked(without_strength(v), gamma if v == axis else v.strength) for v in order)

    def orders(self, chains: Chains) -> dict[Order, list[After]]:
        """Every order that was asked for at some γ, and where it ends at each."""
        ends = {
            order: [chains.ending(self.steps(order, gamma)) for gamma in self.gammas]
            for order in orders_of(self.family.pair)
        }
        return {order: stages for order, stages in ends.items() if any(stage.chain is not None for stage in stages)}


def grid_of(family: Family, place: Place) -> Grid:
    """Where a family is read; at no γ where its axis has none of those asked for."""
    if place.is_area or family.axis is None:
        return Grid(family, tuple(family.grid), None, place.is_area)
    wanted = place.of(family.axis)
    gammas = tuple(gamma for gamma in family.grid if gamma is not None and wanted is not None and same(gamma, wanted))
    return Grid(family, gammas, wanted, False)


def chain_curves(
    held: ChainValues, grid: Grid, scale: Scale, curves: Sequence[Sequence[After]], items: ItemReadings | None = None
) -> ChainCurves:
    """Curves `[curves][γ of the grid]` on the γ that all of them have in every unit.

    Where everything was measured once and `items` are given, the items that all of them answered are the units.
    """
    read = held.of([stage for curve in curves for stage in curve])
    values = read.values.reshape(len(read.values), len(curves), len(grid.gammas))
    holes = np.isnan(values).any(axis=0) | (len(values) == 0)
    points = np.flatnonzero(~holes.any(axis=0))
    lost = [curves[curve][point] for curve, point in np.argwhere(holes)]
    logarithmic = scale.logarithmic and grid.is_area
    units = np.log(values[..., points]) if logarithmic else values[..., points]
    about = {
        "strength": grid.strength,
        "n_points": len(points),
        "points_asked": max(len(grid.gammas), 1),
        "n_replicates": len(units) if len(points) else 0,
        "interval_of": read.units if len(points) and len(units) >= LEAST_UNITS else None,
        "unit": f"ln {held.criterion}" if logarithmic else scale.unit,
        "direction": str(scale.direction),
        "reason": _reasons(held, lost) or (None if len(points) else NOWHERE),
    }
    if items is not None and read.rows is not None and len(points):
        rows = read.rows.reshape(1, len(curves), len(grid.gammas))[..., points]
        over_items = items.curves(rows, units[0], exponential=scale.logarithmic and not logarithmic)
        if over_items is not None and len(over_items.values) >= LEAST_UNITS:
            units, about["interval_of"] = over_items.values, "items"
    x = np.array([gamma or 0.0 for gamma in grid.gammas])[points]
    return ChainCurves(units, x, scale, about)


def _reasons(held: ChainValues, lost: Sequence[After]) -> str:
    """Each reason once, after all that it stands for."""
    names: dict[str, dict[str, None]] = {}
    for stage in lost:
        names.setdefault(held.why(stage), {})[stage.name] = None
    return "; ".join(f"{', '.join(stages)}: {reason}" for reason, stages in names.items())


def composing(table: ResultTable, along: str | None, size: int | None = None) -> list[Family]:
    """Sets of methods that can be put into more than one order, of one size or of all up to ALL_ORDERS."""
    held = [family for family in families(final_cells(table), along) if len(family.pair) <= ALL_ORDERS]
    return [family for family in held if len(set(family.pair)) > 1 and size in (None, len(family.pair))]


def methods_of(family: Family) -> str:
    """`ft × wanda × gd`."""
    return " × ".join(variant.label for variant in family.pair)


def interval(name: str, summary: Summary, *, p: bool = False) -> dict[str, float | None]:
    """A mean with its 95 % interval as columns."""
    columns = {name: summary.mean, f"{name}_low": summary.low, f"{name}_high": summary.high}
    return {**columns, f"{name}_p": summary.p} if p else columns


def typed(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], texts: Sequence[str]) -> pd.DataFrame:
    """A frame of these columns in which a missing number is a null: `texts` and TYPES apart, all are numbers."""
    import pandas as pd

    types = {**dict.fromkeys(columns, "Float64"), **dict.fromkeys(texts, "string"), **TYPES}
    return pd.DataFrame(rows, columns=list(columns)).astype({name: types[name] for name in columns})

"""What the rules read of a table: orders, rivals and singles compared on common γ, in shares of a criterion's range."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from rayci.analysis.answering.aims import aim_of, concerns
from rayci.analysis.answering.ordering_rules.judgement import Part
from rayci.analysis.composing.chain_curves import ChainCurves, Grid, chain_curves, composing, grid_of
from rayci.analysis.composing.win_counts import METRICS, contests, in_common
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.chain_values import After, Chains, ChainValues
from rayci.analysis.scan.family import Family, Order
from rayci.analysis.scan.reading_point import At, Place, place
from rayci.analysis.scan.variant import Variant
from rayci.analysis.statistics.piecewise import Array
from rayci.kinds import Kind
from rayci.table import ResultTable

AREA = Place()


@dataclass(frozen=True)
class Judged:
    """What a rule says of a table."""

    parts: Sequence[Part]
    favours: Mapping[frozenset[str], str] = field(default_factory=dict)
    """Two methods -> the one that the rule lets go first, where the claim holds."""


class Compared:
    """A result table as the rules read it: pairs of methods at one place, every criterion read once."""

    def __init__(self, table: ResultTable, at: At) -> None:
        self.table, self._at = table, at
        self.scales = {name: scale_of(table, name) for name in chosen_criteria(table, None)}
        self._held: dict[tuple[str, str], ChainValues] = {}
        self._ends: dict[tuple[Order, tuple[float | None, ...], Variant | None], list[After]] = {}

    @cached_property
    def pairs(self) -> list[Family]:
        """Sets of two methods; RequestError where the table holds several models."""
        return composing(self.table, None, size=2)

    @cached_property
    def place(self) -> Place:
        """Where they are compared; RequestError where they cannot be."""
        return place(self._at, self.pairs)

    @cached_property
    def _chains(self) -> Chains:
        return Chains(self.table)

    def read(self, criterion: str, column: str = "value") -> ChainValues:
        """Values, or numbers of items `n`, after every chain."""
        if (criterion, column) not in self._held:
            self._held[criterion, column] = self._chains.read(criterion, column=column)
        return self._held[criterion, column]

    def items(self, family: Family, criterion: str, order: Order) -> float | None:
        """How many items an order was measured on at the family's first γ; None where that is not known."""
        end = self._chains.ending(grid_of(family, AREA).steps(order, family.grid[0]))
        counts = self.read(criterion, "n").of([end]).values
        return float(np.nanmean(counts)) if np.isfinite(counts).any() else None

    def judging(self, *aims: Kind | None) -> list[str]:
        """Criteria with a closed range that measure what these kinds of method aim at; None: general utility."""
        return [name for name, scale in self.scales.items() if aim_of(name) in aims and scale.width is not None]

    def named(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are judged by."""
        return [name for name in names if name in self.scales]

    def general(self) -> list[str]:
        """Criteria of general utility; where there is none with a closed range, logarithms of perplexities."""
        spanning = [name for name, scale in self.scales.items() if aim_of(name) is None and scale.logarithmic]
        return self.judging(None) or spanning

    def points(self, family: Family) -> list[Place]:
        """Every γ of a pair; the area where nothing is swept."""
        return [AREA if gamma is None else Place(gamma=gamma) for gamma in family.grid]

    def of_kinds(self, first: str, second: str) -> Iterator[tuple[Family, Variant, Variant]]:
        """Pairs of these two categories or kinds, with their methods in this order."""
        for family in self.pairs:
            for one, other in (family.pair, family.pair[::-1]):
                if first in (one.category, one.kind) and second in (other.category, other.kind):
                    yield family, one, other

    def curves(
        self, family: Family, criterion: str, orders: Sequence[Order], where: Place | None = None
    ) -> ChainCurves:
        """The values that these orders end with, at the rules' place or another."""
        grid = grid_of(family, self.place if where is None else where)
        return chain_curves(
            self.read(criterion), grid, self.scales[criterion], [self._along(grid, order) for order in orders]
        )

    def _along(self, grid: Grid, order: Order) -> list[After]:
        """Where an order ends at every γ; every rule and criterion asks for the same ones."""
        key = order, grid.gammas, grid.family.axis
        if key not in self._ends:
            self._ends[key] = [self._chains.ending(grid.steps(order, gamma)) for gamma in grid.gammas]
        return self._ends[key]

    def goodness(self, family: Family, criterion: str, orders: Sequence[Order], where: Place | None = None) -> Array:
        """How good each order is `[units, orders]`, in shares of the range; no unit where one has no value."""
        curves = self.curves(family, criterion, orders, where)
        if not len(curves.x):
            return np.empty((0, len(orders)))
        return -curves.badness() / (self.scales[criterion].width or 1.0)

    def gain(self, family: Family, criterion: str, first: Order, second: Order) -> Array:
        """By how much the first order is better than the second `[units]`."""
        both = self.goodness(family, criterion, [first, second])
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            gained: Array = both[:, 0] - both[:, 1]
        return gained

    def rivals(
        self, method: str, rival: str, criteria: Sequence[str], metrics: Sequence[str] = METRICS
    ) -> Iterator[Array]:
        """By how much a method composes better than a rival of its category with each partner `[units]`."""
        for column in (column for columns in self._contests.values() for column in columns.values()):
            named = [(label, _method(grid, label)) for label, grid in column.items()]
            sides = [[label for label, name in named if name == side] for side in (method, rival)]
            for (own, other), criterion in itertools.product(itertools.product(*sides), criteria):
                if not concerns(criterion, {variant.kind for variant in column[own].family.pair}):
                    continue
                scale = self.scales[criterion]
                units = in_common(self._chains, self.read(criterion), scale, column, [own, other])
                if units is not None:
                    for metric in metrics:
                        yield (units[metric][other] - units[metric][own]) / (scale.width or 1.0)

    @cached_property
    def _contests(self) -> dict[tuple[str, str], dict[str, dict[str, Grid]]]:
        return contests(grid_of(pair, self.place) for pair in self.pairs)


def less(first: Array, second: Array) -> Array:
    """First minus second unit by unit; of the means where they have different units `[1]`."""
    if len(first) != len(second):
        first, second = first.mean(keepdims=True), second.mean(keepdims=True)
    return first - second


def _method(grid: Grid, label: str) -> str:
    return next(variant.method for variant in grid.family.pair if variant.label == label)

"""Oriented curves: one criterion over γ, for one order of one set of methods and one replicate."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rayci.analysis.scan.variant import Variant, labels, without_strength
from rayci.errors import RequestError, nearest
from rayci.kinds import Kind
from rayci.table import ResultTable
from tests.analysis.oracle.cells import Asked, Cell, final_cells, with_label

ABSENT = "not in the table"

Order = tuple[Variant, ...]
"""Methods as applied, first to last."""


@dataclass(frozen=True, slots=True)
class Point:
    """A value at one γ, or the reason why there is none; γ is None where nothing is swept."""

    strength: float | None
    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
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

    @property
    def name(self) -> str:
        """The order as text, `memit > wanda`."""
        return " > ".join(variant.label for variant in self.order)


Entry = tuple[Order, float | None, Cell]


@dataclass(frozen=True)
class Family:
    """All cells of one set of methods, whatever the order: what an axis and a grid belong to."""

    pair: Order
    axis: Variant | None
    cells: Mapping[str, Sequence[Entry]]
    """Criterion -> (order, γ, cell)."""

    @property
    def grid(self) -> list[float | None]:
        """Every γ that was asked of these methods, rising."""
        held = {gamma for of_order in self.cells.values() for _, gamma, _ in of_order}
        return sorted(held, key=lambda gamma: (gamma is not None, gamma or 0.0))


def curves(table: ResultTable, criteria: Sequence[str] | None = None, along: str | None = None) -> list[Curve]:
    """Every curve of a table, singles and longer compositions included.

    The axis is the γ of the compressor, or of the method `along`; other γ and all settings
    tell curves apart. Rows with no replicate (or seed) join every replicate (or seed).
    Raises RequestError where `along` is no method with a γ.
    """
    drawn = []
    for family in families(final_cells(table), along):
        for criterion in family.cells:
            if criteria is None or criterion in criteria:
                drawn += family_curves(family, criterion)
    return drawn


def families(cells: Iterable[Cell], along: str | None = None) -> list[Family]:
    """Cells grouped by methods, settings and the γ that are not the axis; sorted by pair."""
    held = [cell for cell in cells if cell.steps]
    _check_along(held, along)
    by_bases: dict[Order, list[Cell]] = {}
    for cell in held:
        by_bases.setdefault(_sorted(step.variant for step in cell.steps), []).append(cell)
    grouped: dict[tuple[Order, Variant | None], dict[str, list[Entry]]] = {}
    for bases, members in by_bases.items():
        axis = _axis(bases, members, along)
        for cell in members:
            order = tuple(_placed(step, axis) for step in cell.steps)
            gamma = next((step.strength for step in cell.steps if step.variant == axis), None)
            grouped.setdefault((_sorted(order), axis), {}).setdefault(cell.criterion, []).append((order, gamma, cell))
    named = _names(held, {variant for pair, _ in grouped for variant in pair})
    labelled = [_labelled(pair, axis, cells, named) for (pair, axis), cells in grouped.items()]
    return sorted(labelled, key=lambda family: (len(family.pair), [variant.rank for variant in family.pair]))


def family_curves(family: Family, criterion: str) -> list[Curve]:
    """The curves of one family and criterion: one for each order that has rows, and each replicate."""
    curves_of_family, grid = [], family.grid
    entries = family.cells.get(criterion, ())
    for replicate, seed in _units([cell for _, _, cell in entries]):
        joined: dict[Order, dict[float | None, Cell]] = {}
        for order, gamma, cell in entries:
            if cell.replicate in (None, replicate) and cell.seed in (None, seed):
                joined.setdefault(order, {})[gamma] = cell
        for order in sorted(joined, key=lambda order: [family.pair.index(variant) for variant in order]):
            points = tuple(_point(gamma, joined[order].get(gamma)) for gamma in grid)
            curves_of_family.append(Curve(family.pair, order, family.axis, criterion, replicate, seed, points))
    return curves_of_family


def orders_of(pair: Sequence[Variant]) -> list[Order]:
    """Every order of a set of methods, the sorted one first."""
    return list(dict.fromkeys(itertools.permutations(pair)))


def _point(gamma: float | None, cell: Cell | None) -> Point:
    return Point(gamma, None, ABSENT) if cell is None else Point(gamma, cell.value, cell.reason)


def _units(cells: Sequence[Cell]) -> list[tuple[int | None, int | None]]:
    """The (replicate, seed) pairs of a family; null stands for all, so it counts only where it stands alone."""
    seeds: list[int | None] = [*sorted({cell.seed for cell in cells if cell.seed is not None})] or [None]
    replicates: list[int | None] = [*sorted({c.replicate for c in cells if c.replicate is not None})] or [None]
    return [
        unit
        for unit in itertools.product(replicates, seeds)
        if any(cell.replicate in (None, unit[0]) and cell.seed in (None, unit[1]) for cell in cells)
    ]


def _sorted(variants: Iterable[Variant]) -> Order:
    return tuple(sorted(variants, key=lambda variant: variant.rank))


def _axis(bases: Order, cells: Sequence[Cell], along: str | None) -> Variant | None:
    """The swept method: the one asked for, else the compressor, else whatever has most values of γ."""
    values: dict[Variant, set[float]] = {}
    for step in itertools.chain.from_iterable(cell.steps for cell in cells):
        # A method that occurs twice in a composition has no single γ to draw along an axis.
        if step.strength is not None and bases.count(step.variant) == 1:
            values.setdefault(step.variant, set()).add(step.strength)
    if not values:
        return None
    candidates = [base for base in bases if base in values]
    return max(candidates, key=lambda base: (base.method == along, base.kind is Kind.COMPRESS, len(values[base])))


def _placed(step: Asked, axis: Variant | None) -> Variant:
    if step.variant == axis or step.strength is None:
        return step.variant
    variant = step.variant
    return Variant(variant.kind, variant.method, variant.settings, variant.strength_name, step.strength)


def _names(cells: Iterable[Cell], variants: set[Variant]) -> dict[Variant, str]:
    values: dict[Variant, set[float | None]] = {}
    for cell in cells:
        for step in cell.steps:
            values.setdefault(step.variant, set()).add(step.strength)
    known = variants | {without_strength(variant) for variant in variants}
    return labels(known, {variant: len(held) for variant, held in values.items()})


def _labelled(
    pair: Order,
    axis: Variant | None,
    cells: Mapping[str, Sequence[Entry]],
    named: Mapping[Variant, str],
) -> Family:
    named_cells = {
        criterion: [(_named(order, named), gamma, cell) for order, gamma, cell in entries]
        for criterion, entries in cells.items()
    }
    return Family(_named(pair, named), axis and with_label(axis, named[axis]), named_cells)


def _named(variants: Iterable[Variant], named: Mapping[Variant, str]) -> Order:
    return tuple(with_label(variant, named[variant]) for variant in variants)


def _check_along(cells: Iterable[Cell], along: str | None) -> None:
    known = sorted({step.variant.method for cell in cells for step in cell.steps if step.strength is not None})
    if along is not None and along not in known:
        raise RequestError(
            f"no method {along!r} with a strength in the table",
            allowed=", ".join(known) or "none",
            hint=nearest(along, known),
        )

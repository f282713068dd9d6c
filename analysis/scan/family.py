"""Sets of methods, whatever their order: what an axis and a grid of γ belong to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rayci.analysis.scan.asked import Asked, Composition
from rayci.analysis.scan.cells import FinalCells
from rayci.analysis.scan.runs import Places, Runs, pivoted
from rayci.analysis.scan.variant import Variant, labels, with_label, without_strength
from rayci.errors import RequestError, nearest
from rayci.kinds import Kind

Order = tuple[Variant, ...]
"""Methods as applied, first to last."""
ALL_ORDERS = 5
"""Methods whose orders are all counted: a hundred edit batches one after the other have a hundred factorial."""


@dataclass(frozen=True)
class Family:
    """All results of one set of methods, whatever the order."""

    pair: Order
    """The methods, sorted by kind and name; two, or one, or more."""
    axis: Variant | None
    """The method whose γ runs along the curves; None where no step has a γ."""
    grid: tuple[float | None, ...]
    """Every γ that was asked of these methods, rising; one None where nothing is swept."""
    runs: Mapping[str, Runs]
    """Criterion -> what was measured of it."""
    orders: tuple[Order, ...]
    """Every order of the methods, whether it ran or not; of more than ALL_ORDERS methods those that ran."""


@dataclass(frozen=True)
class _Member:
    """One composition of a family."""

    composition: int
    order: Order
    gamma: float | None


def families(cells: FinalCells, along: str | None = None) -> list[Family]:
    """Results grouped by methods, settings and the γ that are not the axis; sorted by pair.

    The axis is the γ of the compressor, or of the method `along`. Raises RequestError where that is no method with a γ.
    """
    composed = {code: steps for code, steps in enumerate(cells.composition.names) if steps}
    _check_along(composed.values(), along)
    by_bases: dict[Order, list[int]] = {}
    for code, steps in composed.items():
        by_bases.setdefault(_sorted(tuple(step.variant for step in steps)), []).append(code)
    grouped: dict[tuple[Order, Variant | None], list[_Member]] = {}
    for bases, codes in by_bases.items():
        axis = _axis(bases, [composed[code] for code in codes], along)
        for code in codes:
            member = _member(code, composed[code], axis)
            grouped.setdefault((_sorted(member.order), axis), []).append(member)
    label = _labels(composed.values(), {variant for pair, _ in grouped for variant in pair})
    grids = [sorted({member.gamma for member in members}, key=_rising) for members in grouped.values()]
    orders = [_orders(pair, members) for (pair, _), members in grouped.items()]
    runs = pivoted(cells, _places(cells, grouped, grids, orders))

    def labelled(order: Order) -> Order:
        return tuple(with_label(variant, label[variant]) for variant in order)

    held = [
        Family(
            labelled(pair), axis and with_label(axis, label[axis]), tuple(grid), measured, tuple(map(labelled, ways))
        )
        for (pair, axis), grid, measured, ways in zip(grouped, grids, runs[:-1], orders, strict=True)
    ]
    return sorted(held, key=lambda family: (len(family.pair), [variant.rank for variant in family.pair]))


def orders_of(pair: Sequence[Variant]) -> list[Order]:
    """Every order of a set of methods, the sorted one first."""
    return list(dict.fromkeys(itertools.permutations(pair)))


def _orders(pair: Order, members: Iterable[_Member]) -> list[Order]:
    """The orders of a family, see `Family.orders`."""
    return orders_of(pair) if len(pair) <= ALL_ORDERS else list(dict.fromkeys(member.order for member in members))


def _places(
    cells: FinalCells,
    grouped: Mapping[tuple[Order, Variant | None], Sequence[_Member]],
    grids: Sequence[list[float | None]],
    orders: Sequence[Sequence[Order]],
) -> Places:
    """Where in the arrays of its family each composition stands; the untouched model in a last one of its own."""
    family, order, point = np.zeros((3, len(cells.composition.names)), dtype=np.int32)
    family[:] = len(grouped)
    counts = []
    for number, (members, grid, ways) in enumerate(zip(grouped.values(), grids, orders, strict=True)):
        places = {way: place for place, way in enumerate(ways)}
        points = {gamma: place for place, gamma in enumerate(grid)}
        counts.append((len(places), len(points)))
        for member in members:
            family[member.composition] = number
            order[member.composition], point[member.composition] = places[member.order], points[member.gamma]
    return Places(family, order, point, np.array([*counts, (1, 1)], dtype=np.int64))


def _rising(gamma: float | None) -> tuple[bool, float]:
    return gamma is not None, gamma or 0.0


@lru_cache(maxsize=2**16)  # the same orders come at every γ
def _sorted(variants: Order) -> Order:
    return tuple(sorted(variants, key=lambda variant: variant.rank))


def _axis(bases: Order, compositions: Sequence[Composition], along: str | None) -> Variant | None:
    """The swept method: the one asked for, else the compressor, else whatever has most values of γ."""
    values: dict[Variant, set[float]] = {}
    for step in itertools.chain.from_iterable(compositions):
        # A method that occurs twice in a composition has no single γ to draw along an axis.
        if step.strength is not None and bases.count(step.variant) == 1:
            values.setdefault(step.variant, set()).add(step.strength)
    if not values:
        return None
    candidates = [base for base in bases if base in values]
    return max(candidates, key=lambda base: (base.method == along, base.kind is Kind.COMPRESS, len(values[base])))


def _member(code: int, steps: Composition, axis: Variant | None) -> _Member:
    order = tuple(_placed(step, axis) for step in steps)
    return _Member(code, order, next((step.strength for step in steps if step.variant == axis), None))


def _placed(step: Asked, axis: Variant | None) -> Variant:
    if step.variant == axis or step.strength is None:
        return step.variant
    variant = step.variant
    return Variant(variant.kind, variant.method, variant.settings, variant.strength_name, step.strength)


def _labels(compositions: Iterable[Composition], variants: set[Variant]) -> dict[Variant, str]:
    values: dict[Variant, set[float | None]] = {}
    for step in itertools.chain.from_iterable(compositions):
        values.setdefault(step.variant, set()).add(step.strength)
    known = variants | {without_strength(variant) for variant in variants}
    return labels(known, {variant: len(held) for variant, held in values.items()})


def _check_along(compositions: Iterable[Composition], along: str | None) -> None:
    known = sorted({step.variant.method for steps in compositions for step in steps if step.strength is not None})
    if along is not None and along not in known:
        raise RequestError(
            f"no method {along!r} with a strength in the table",
            allowed=", ".join(known) or "none",
            hint=nearest(along, known),
        )

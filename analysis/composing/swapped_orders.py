"""Which method should go before which, among three and more: permutations that differ by one swap.

    precedence of x before y = mean over pairs of permutations (… x … y …, … y … x …) of κ(x first) − κ(y first)

The two permutations of a pair have x and y in each other's place and all else alike. For two methods this is the gap.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rayci.analysis.composing.chain_curves import (
    INFINITE,
    Grid,
    chain_curves,
    composing,
    grid_of,
    interval,
    methods_of,
    typed,
)
from rayci.analysis.composing.item_readings import ItemReadings
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.chain_values import Chains, ChainValues
from rayci.analysis.scan.family import Order, orders_of
from rayci.analysis.scan.reading_point import At, place, same
from rayci.analysis.scan.variant import Variant
from rayci.analysis.statistics.intervals import holm, summarise
from rayci.analysis.statistics.piecewise import Array
from rayci.kinds import Direction, Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "criterion", "methods", "first", "second", "strength",
    "precedence", "precedence_low", "precedence_high", "precedence_p", "precedence_p_adjusted", "better_first",
    "n_pairs", "pairs_asked", "n_points", "points_asked", "n_replicates", "interval_of", "unit", "direction", "reason",
)  # fmt: skip


def precedence(
    table: ResultTable,
    at: At = "area",
    criteria: Sequence[str] | None = None,
    along: str | None = None,
    size: int | None = None,
) -> pd.DataFrame:
    """Precedence of every two methods within every set of three or more, one row per criterion, set and two methods.

    `at`, `criteria`, `along`: as in `metrics`; `size`: only sets of so many methods (2: pairs). `precedence` is in the
    criterion's unit, its distance from zero where closer to zero is better, the logarithm in areas of perplexities;
    `better_first` is the one of the two that goes first in the better permutations, on average. `n_pairs` of
    `pairs_asked` pairs of permutations were run; all are read on the γ that every one of them has in every unit. Null
    where none was. Intervals are Student's t over units, or over the items that all answered where everything was
    measured once; p is adjusted (Holm) over the rows of the table.
    """
    sets = [family for family in composing(table, along, size) if len(family.pair) > 2 or size is not None]
    chains, where, items = Chains(table), place(at, sets), ItemReadings(table)
    rows: list[dict[str, Any]] = []
    for criterion in chosen_criteria(table, criteria):
        held, scale = chains.read(criterion), scale_of(table, criterion)
        for family in sets:
            rows += _rows(chains, grid_of(family, where), held, scale, items)
    adjusted = holm([row["precedence_p"] for row in rows])
    rows = [{**row, "precedence_p_adjusted": p} for row, p in zip(rows, adjusted, strict=True)]
    return typed(rows, COLUMNS, ("criterion", "methods", "first", "second", "better_first"))


def _rows(chains: Chains, grid: Grid, held: ChainValues, scale: Scale, items: ItemReadings) -> Iterator[dict[str, Any]]:
    ends = grid.orders(chains)
    curves = chain_curves(held, grid, scale, list(ends.values()), items)
    distances = dict(zip(ends, curves.badness().T, strict=True)) if len(curves.x) else {}
    for first, second in itertools.combinations(dict.fromkeys(grid.family.pair), 2):
        asked = [order for order in orders_of(grid.family.pair) if order.index(first) < order.index(second)]
        swaps = [(order, _swapped(order, first, second)) for order in asked]
        there = [swap for swap in swaps if set(swap) <= set(ends)]
        yield {
            "criterion": held.criterion,
            "methods": methods_of(grid.family),
            "first": first.label,
            "second": second.label,
            "n_pairs": len(there),
            "pairs_asked": len(asked),
            "precedence_p": None,
            **curves.about,
            **_precedence(distances, there, (first, second), scale),
        }


def _swapped(order: Order, first: Variant, second: Variant) -> Order:
    """The order with each of the two in the other's place."""
    exchanged = {first: second, second: first}
    return tuple(exchanged.get(variant, variant) for variant in order)


def _precedence(
    distances: Mapping[Order, Array], swaps: Sequence[tuple[Order, Order]], methods: Order, scale: Scale
) -> dict[str, Any]:
    """Mean over swaps of each unit's difference; what is missing is said by the curves, or here."""
    if not distances:
        return {}
    if not swaps:
        return {"reason": "no two permutations that were run differ by this swap alone"}
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        worse = np.mean([distances[order] - distances[other] for order, other in swaps], axis=0)
    summary = summarise(list(-worse if scale.direction is Direction.HIGHER else worse))
    if summary.mean is None:
        return {"reason": INFINITE}
    mean = float(worse.mean())
    better = None if same(mean, 0.0) else methods[int(mean > 0)].label
    return {**interval("precedence", summary, p=True), "better_first": better}

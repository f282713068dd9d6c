"""Which method costs what: the loss of a composition shared out over its methods.

    attribution of x = mean over orders of the drop κ(before x) − κ(after x) where x is applied

The Shapley value over prefixes (Shapley 1953), all of which were measured as stages; attributions add up to κ(none)
minus the mean over orders of κ(all). A re-compression counts for the method that it repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from rayci.analysis.scan.chain_values import After, Chains, ChainValues
from rayci.analysis.scan.family import Order, orders_of
from rayci.analysis.scan.reading_point import At, place
from rayci.analysis.scan.variant import Variant
from rayci.analysis.statistics.intervals import summarise
from rayci.analysis.statistics.piecewise import Array
from rayci.kinds import Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "criterion", "methods", "method", "strength", "drop", "drop_low", "drop_high", "drop_p",
    "value_none", "value_all", "n_orders",
    "n_points", "points_asked", "n_replicates", "interval_of", "unit", "direction", "reason",
)  # fmt: skip


def attribution(
    table: ResultTable,
    at: At = "area",
    criteria: Sequence[str] | None = None,
    along: str | None = None,
    size: int | None = None,
) -> pd.DataFrame:
    """What each method of every set of two or more takes from κ, one row per criterion, set and method.

    `at`, `criteria`, `along`: as in `metrics`; `size`: only sets of so many methods. `drop` is κ before minus κ after,
    a mean over all `n_orders` orders, in the criterion's unit (of the logarithm in areas of perplexities): a loss where
    higher is better, a gain where lower is. The drops of a set add up to `value_none` − `value_all`, the latter a mean
    over orders. Null where an order was not run or a stage on the way has no value at any γ. Intervals are Student's t
    over units, or over the items that all answered where everything was measured once.
    """
    sets, chains, items = composing(table, along, size), Chains(table), ItemReadings(table)
    where = place(at, sets)
    rows: list[dict[str, Any]] = []
    for criterion in chosen_criteria(table, criteria):
        held, scale = chains.read(criterion), scale_of(table, criterion)
        for family in sets:
            rows += _rows(chains, grid_of(family, where), held, scale, items)
    return typed(rows, COLUMNS, ("criterion", "methods", "method"))


def _rows(chains: Chains, grid: Grid, held: ChainValues, scale: Scale, items: ItemReadings) -> list[dict[str, Any]]:
    ways = [_way(chains, grid, order) for order in orders_of(grid.family.pair)]
    curves = chain_curves(held, grid, scale, [stages for way in ways for stages in way.stages], items)
    methods = tuple(dict.fromkeys(grid.family.pair))
    row = {"criterion": held.criterion, "methods": methods_of(grid.family), "n_orders": len(ways), **curves.about}
    if not len(curves.x):
        return [{**row, "method": method.label} for method in methods]
    ends = np.cumsum([len(way.stages) for way in ways]) - 1
    areas = curves.areas()
    row |= {"value_none": summarise(list(areas[:, 0])).mean, "value_all": summarise(list(areas[:, ends].mean(1))).mean}
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        drops = areas @ _shares(ways, methods).T
    rows = []
    for method, units in zip(methods, drops.T, strict=True):
        summary = summarise(list(units))
        unknown = {"reason": INFINITE} if summary.mean is None else {}
        rows.append({**row, "method": method.label, **interval("drop", summary, p=True), **unknown})
    return rows


@dataclass(frozen=True)
class _Way:
    """One order, from the untouched model to its end."""

    stages: list[list[After]]
    """`[stages][γ of the grid]`"""
    applied: list[Variant]
    """Which method leads from each stage to the next."""


def _way(chains: Chains, grid: Grid, order: Order) -> _Way:
    """Every stage of an order; where it was not asked for, its end alone, which then is nowhere."""
    compositions = [grid.steps(order, gamma) for gamma in grid.gammas]
    ways = [chains.along(composition) for composition in compositions]
    longest, composition = max(zip(ways, compositions, strict=True), key=lambda way: len(way[0]), default=([], ()))
    if not longest:
        return _Way([[chains.ending(composition) for composition in compositions]], [])
    stages = [
        [
            way[level] if len(way) == len(longest) else After(chains.name(steps), None)
            for way, steps in zip(ways, compositions, strict=True)
        ]
        for level in range(len(longest))
    ]
    methods = dict(zip(composition, order, strict=True))
    return _Way(stages, [methods[applied.step] for applied in longest[-1].chain or ()])


def _shares(ways: Sequence[_Way], methods: Order) -> Array:
    """How each stage of each way counts in the drop of each method `[methods, stages of all ways]`."""
    shares = np.zeros((len(methods), sum(len(way.stages) for way in ways)))
    start = 0
    for way in ways:
        for level, method in enumerate(way.applied, start=start):
            shares[methods.index(method), [level, level + 1]] += np.array([1, -1]) / len(ways)
        start += len(way.stages)
    return shares

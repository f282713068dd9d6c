"""The best and the worst permutation of three and more methods, at every γ and overall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from rayci.analysis.scan.family import Family, Order, orders_of
from rayci.analysis.scan.reading_point import Place, same
from rayci.analysis.statistics.intervals import summaries
from rayci.kinds import Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "criterion", "methods", "strength", "best_order", "best_value", "second_order", "second_value",
    "lead", "lead_low", "lead_high",
    "worst_order", "worst_value", "lead_over_worst", "lead_over_worst_low", "lead_over_worst_high",
    "orders_run", "orders_asked",
    "n_points", "points_asked", "n_replicates", "interval_of", "unit", "direction", "reason",
)  # fmt: skip
_TEXTS = ("criterion", "methods", "best_order", "second_order", "worst_order")


def ranked_orders(
    table: ResultTable, criteria: Sequence[str] | None = None, along: str | None = None, size: int | None = None
) -> pd.DataFrame:
    """The permutations of every set of two or more methods by rank: one row for the area, one for each γ.

    `criteria`, `along`: as in `metrics`; `size`: only sets of so many methods. `strength` is null in the row of the
    area over γ. `lead`: by how much the best order is better than the second, `lead_over_worst`: than the worst, in the
    criterion's unit (of the logarithm in areas of perplexities), with Student-t intervals over units, or over the items
    that all answered where everything was measured once. Orders are ranked on their mean curves, on the γ that every
    one of them has in every unit; an order may lead by chance, and does not where the interval of its lead reaches 0.
    An order that ties with another has no name.
    """
    sets, chains, items = composing(table, along, size), Chains(table), ItemReadings(table)
    grids = [grid_of(family, place) for family in sets for place in _places(family)]
    ends = [grid.orders(chains) for grid in grids]
    rows = []
    for criterion in chosen_criteria(table, criteria):
        held, scale = chains.read(criterion), scale_of(table, criterion)
        rows += [_row(grid, orders, held, scale, items) for grid, orders in zip(grids, ends, strict=True)]
    return typed(rows, COLUMNS, _TEXTS)


def _places(family: Family) -> list[Place]:
    return [Place(), *(Place(gamma=gamma) for gamma in family.grid if gamma is not None)]


def _row(
    grid: Grid, ends: Mapping[Order, Sequence[After]], held: ChainValues, scale: Scale, items: ItemReadings
) -> dict[str, Any]:
    curves = chain_curves(held, grid, scale, list(ends.values()), items)
    asked = len(orders_of(grid.family.pair))
    row = {"criterion": held.criterion, "methods": methods_of(grid.family), **curves.about}
    row |= {"orders_run": len(ends), "orders_asked": asked}
    if not len(curves.x) or len(ends) < 2:
        return row if row["reason"] else {**row, "reason": "one order only"}
    distances, values = curves.badness(), curves.areas().mean(axis=0)
    means = distances.mean(axis=0)
    ranked, texts = np.argsort(means, kind="stable"), [_text(order) for order in ends]
    for name, place in (("best", ranked[0]), ("second", ranked[1]), ("worst", ranked[-1])):
        alone = sum(same(mean, means[place]) for mean in means) == 1
        row |= {f"{name}_order": texts[place] if alone else None, f"{name}_value": values[place]}
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        behind = distances - distances[:, ranked[:1]]
    for name, summary in zip(("lead", "lead_over_worst"), summaries(behind[:, ranked[[1, -1]]].T).each(), strict=True):
        row |= interval(name, summary)
    return row | ({"reason": INFINITE} if row["lead_over_worst"] is None else {})


def _text(order: Order) -> str:
    return " > ".join(variant.label for variant in order)

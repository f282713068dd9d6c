"""Wins: how often a method is the most composable of its category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rayci.analysis.composing.chain_curves import Grid, chain_curves, composing, grid_of
from rayci.analysis.composing.item_readings import ItemReadings
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.chain_values import Chains, ChainValues
from rayci.analysis.scan.family import orders_of
from rayci.analysis.scan.reading_point import At, place
from rayci.analysis.statistics.intervals import LEAST_UNITS, summarise
from rayci.analysis.statistics.piecewise import Array
from rayci.analysis.statistics.scoring import Reach, errors, spreads
from rayci.kinds import Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("order_free_error", "order_sensitivity")
COLUMNS = (
    "category", "method", "partners", "criterion", "metric",
    "wins", "robust_wins", "significant_wins", "columns", "undecided", "reason",
)  # fmt: skip
_KEYS = 5
"""Columns that say which contest a row is of."""
ROUNDING = 0.005
"""How far a value printed with two decimals may be from the measured one."""
NO_UNITS = f"fewer than {LEAST_UNITS} edit batches, seeds or items: no paired interval"


def wins(
    table: ResultTable,
    at: At = "published",
    digits: int = 2,
    criteria: Sequence[str] | None = None,
    along: str | None = None,
) -> pd.DataFrame:
    """Count, within each category (editors, pruners, quantisers, unlearners, …), who wins how many columns.

    A column is one criterion, one metric and one partner, read at `at` on the γ that every method of the category has
    with this partner. The method with the strictly lowest value after rounding to `digits` decimals wins it; a tie is a
    loss for all. A robust win is one that stands when every value moves by ROUNDING. A significant win, whatever the
    rounding: against every rival the 95 % interval of the paired differences over units (edit batches, seeds, or items
    of what was measured once) ends below 0; null, with a reason, where no column has three units. A column is undecided
    where a method has no value, points were lost, or the methods have different axes. Quantisers to a number format are
    a category of their own. `criteria`, `along`: as in `metrics`.
    """
    import pandas as pd

    pairs, chains, items = composing(table, along, size=2), Chains(table), ItemReadings(table)
    where = place(at, pairs)
    by_category = contests(grid_of(pair, where) for pair in pairs)
    rows: list[tuple[Any, ...]] = []
    for criterion in chosen_criteria(table, criteria):
        held, scale = chains.read(criterion), scale_of(table, criterion)
        for (category, partners), by_partner in by_category.items():
            methods = sorted({method for column in by_partner.values() for method in column})
            if len(methods) < 2:
                continue
            columns = [in_common(chains, held, scale, column, methods, items) for column in by_partner.values()]
            for metric in METRICS:
                outcomes = [_outcome(column[metric], digits) for column in columns if column]
                keys = [(category, method, partners, criterion, metric) for method in methods]
                rows += [(*key, *_counts(key[1], outcomes, len(columns))) for key in keys]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(list(COLUMNS[:_KEYS]), ignore_index=True)
    return frame.astype({"significant_wins": "Int64", "reason": "string"})


Column = Mapping[str, Grid]
"""Method -> where it is read with one partner."""


def contests(grids: Iterable[Grid]) -> dict[tuple[str, str], dict[str, dict[str, Grid]]]:
    """(Category, kind of the partner) -> partner -> method -> grid: each pair twice, seen from either method.

    A number format has no bits to choose: quantisers to one contend among themselves, not with those over bits.
    """
    contests: dict[tuple[str, str], dict[str, dict[str, Grid]]] = {}
    for grid in grids:
        for own, other in (grid.family.pair, grid.family.pair[::-1]):
            if not own.competes:
                continue
            category = f"{own.category} to {own.number_format}" if own.number_format else own.category
            columns = contests.setdefault((category, str(other.kind)), {})
            columns.setdefault(other.label, {})[own.label] = grid
    return contests


def in_common(
    chains: Chains,
    held: ChainValues,
    scale: Scale,
    column: Column,
    methods: Sequence[str],
    items: ItemReadings | None = None,
) -> dict[str, dict[str, Array]] | None:
    """Metric -> method -> each unit's value `[units]`, on common points and units; None where that is undecided."""
    axes = {grid.family.axis and grid.family.axis.strength_name for grid in column.values()}
    if len(column) < len(methods) or len(axes) > 1:
        return None
    first = column[methods[0]]
    common = tuple(gamma for gamma in first.gammas if all(gamma in grid.gammas for grid in column.values()))
    shared = [Grid(column[method].family, common, first.strength, first.is_area) for method in methods]
    stages = [
        [chains.ending(grid.steps(order, gamma)) for gamma in common]
        for grid in shared
        for order in orders_of(grid.family.pair)
    ]
    curves = chain_curves(held, shared[0], scale, stages, items)
    if not common or len(curves.x) < len(common):
        return None
    by_method = np.split(curves.values, len(methods), axis=1)
    reach = Reach(curves.x)
    return {
        METRICS[0]: {name: errors(values, scale, reach) for name, values in zip(methods, by_method, strict=True)},
        METRICS[1]: {name: spreads(values, reach) for name, values in zip(methods, by_method, strict=True)},
    }


@dataclass(frozen=True)
class _Outcome:
    """Who won a column, by each rule; None where nobody did."""

    strict: str | None
    robust: str | None
    significant: str | None
    paired: bool
    """Whether there are units enough for paired intervals."""


def _outcome(units: Mapping[str, Array], digits: int) -> _Outcome | None:
    """The outcome of one column; None where a method has no value."""
    means = {method: float(np.mean(values)) for method, values in units.items()}
    if any(np.isnan(mean) for mean in means.values()):
        return None
    leader = min(means, key=lambda method: means[method])
    others = [mean for method, mean in means.items() if method != leader]
    strict = all(round(means[leader], digits) < round(mean, digits) for mean in others)
    robust = strict and all(means[leader] + 2 * ROUNDING < mean for mean in others)
    paired = all(len(values) >= LEAST_UNITS for values in units.values())
    significant = paired and all(_below(units[leader] - values) for method, values in units.items() if method != leader)
    return _Outcome(leader if strict else None, leader if robust else None, leader if significant else None, paired)


def _below(differences: Array) -> bool:
    """Whether the interval of paired differences ends below 0."""
    high = summarise(list(differences)).high
    return high is not None and high < 0


def _counts(
    method: str, outcomes: Sequence[_Outcome | None], columns: int
) -> tuple[int, int, int | None, int, int, str | None]:
    decided = [outcome for outcome in outcomes if outcome is not None]
    paired = [outcome for outcome in decided if outcome.paired]
    return (
        sum(outcome.strict == method for outcome in decided),
        sum(outcome.robust == method for outcome in decided),
        sum(outcome.significant == method for outcome in paired) if paired else None,
        len(decided),
        columns - len(decided),
        None if paired else NO_UNITS,
    )

"""What composing adds to what each method does alone: loss against the better single, and interaction.

    excess      = how much worse κ(i then j) is than the better of κ(i) and κ(j)
    interaction = κ(i then j) − κ(i) − κ(j) + κ(none)

Order-free error alone cannot tell "the edit never generalised" from "compression destroyed it". On the logit scale
shares add up where effects multiply odds; a share is moved by half an item, log((ns + ½) / (n − ns + ½)), so that 0 of
n has a value too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rayci.analysis.composing.chain_curves import (
    INFINITE,
    ChainCurves,
    Grid,
    chain_curves,
    composing,
    grid_of,
    interval,
    typed,
)  # fmt: skip
from rayci.analysis.composing.item_readings import ItemReadings
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.chain_values import After, Chains, ChainValues
from rayci.analysis.scan.family import Order
from rayci.analysis.scan.reading_point import At, place, same
from rayci.analysis.statistics.intervals import summaries
from rayci.analysis.statistics.piecewise import Array, weigh
from rayci.errors import RequestError
from rayci.kinds import Direction, Scale
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

SCALES = ("plain", "logit")
_OF_ORDER = (
    "value_{}", "excess_{}", "excess_{}_low", "excess_{}_high",
    "interaction_{}", "interaction_{}_low", "interaction_{}_high", "interaction_{}_p",
)  # fmt: skip
COLUMNS = (
    "criterion", "method_i", "method_j", "strength", "value_none", "value_i", "value_j", "better_single",
    *(name.format(order) for order in ("ij", "ji") for name in _OF_ORDER),
    "n_points", "points_asked", "n_replicates", "interval_of", "unit",
    "interaction_scale", "interaction_points", "direction", "reason",
)  # fmt: skip
_TEXTS = ("criterion", "method_i", "method_j", "better_single", "interaction_scale")


def interactions(
    table: ResultTable,
    at: At = "area",
    criteria: Sequence[str] | None = None,
    along: str | None = None,
    scale: str = "plain",
) -> pd.DataFrame:
    """κ after both orders of every pair beside κ after each method alone and after none, one row per criterion.

    `at`, `criteria`, `along`: as in `metrics`. `scale` of the interaction: `plain`, or `logit` for criteria with a
    range (`interaction_scale` says which it is; κ and the excess stay in the criterion's unit). All curves are read on
    the γ that every one of them has in every unit; a method without γ is a flat line. `excess_ij` > 0: the composition
    is worse than the better single, which is chosen at each γ (`better_single`: over all of them). Intervals are
    Student's t over units, or over the items that all answered where everything was measured once (not on the logit
    scale). Raises RequestError for unknown criteria, names and scales.
    """
    if scale not in SCALES:
        raise RequestError(f"no scale {scale!r}", allowed=", ".join(SCALES))
    pairs, chains, items = composing(table, along, size=2), Chains(table), ItemReadings(table)
    where = place(at, pairs)
    read = [_PairStages.of(chains, grid_of(pair, where)) for pair in pairs]
    rows = []
    for criterion in chosen_criteria(table, criteria):
        own = scale_of(table, criterion)
        turned = scale == "logit" and own.direction is not Direction.ZERO and None not in (own.low, own.high)
        held = chains.read(criterion)
        inner = chains.read(criterion, partial(_logit, scale=own)) if turned else held
        rows += [_row(stages, own, (held, inner), items) for stages in read]
    return typed(rows, COLUMNS, _TEXTS)


@dataclass(frozen=True)
class _PairStages:
    """What is read of a pair, of every criterion alike."""

    grid: Grid
    orders: Mapping[str, Order]
    """`ij` and `ji`, those that were asked for."""
    stages: Sequence[Sequence[After]]
    """Where these, each method alone and none end at every γ."""

    @staticmethod
    def of(chains: Chains, grid: Grid) -> _PairStages:
        pair = grid.family.pair
        ends = {
            order: [chains.ending(grid.steps(order, gamma)) for gamma in grid.gammas]
            for order in (pair, pair[::-1], pair[:1], pair[1:], ())
        }
        orders = {
            name: order
            for name, order in (("ij", pair), ("ji", pair[::-1]))
            if any(stage.chain is not None for stage in ends[order])
        }
        return _PairStages(grid, orders, [ends[order] for order in (*orders.values(), pair[:1], pair[1:], ())])


def _row(told: _PairStages, scale: Scale, read: tuple[ChainValues, ChainValues], items: ItemReadings) -> dict[str, Any]:
    """`read`: values on the criterion's own scale, and on that of the interaction."""
    grid, orders, stages = told.grid, told.orders, told.stages
    pair, (held, inner) = grid.family.pair, read
    curves = chain_curves(held, grid, scale, stages, items)
    row = {"criterion": held.criterion, "method_i": pair[0].label, "method_j": pair[1].label, **curves.about}
    if not len(curves.x):
        return row
    means = [summary.mean for summary in summaries(curves.areas().T).each()]
    row |= dict(zip((*(f"value_{name}" for name in orders), "value_i", "value_j", "value_none"), means, strict=True))
    row |= _excess(curves, orders, pair)
    turned = curves if inner is held else chain_curves(inner, grid, scale, stages)
    row |= _interaction(turned, orders) | {"interaction_scale": row["unit"] if inner is held else "logit"}
    unknown = any(row[f"{name}_{order}"] is None for name in ("excess", "interaction") for order in orders)
    reasons = [turned.about["reason"], INFINITE if unknown and len(turned.x) else None]
    return {**row, "interaction_points": len(turned.x), "reason": "; ".join(filter(None, reasons)) or None}


def _excess(curves: ChainCurves, orders: Iterable[str], pair: Order) -> dict[str, Any]:
    """Loss of each order against the single that is better on the mean curves, segment by segment."""
    distances, count = curves.distances(), curves.values.shape[1] - 3
    singles, average = distances.units[:, count : count + 2], distances.mean[count : count + 2]
    better = np.take_along_axis(singles, average.argmin(axis=0)[None, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        worse = weigh(distances.units[:, :count] - better[:, None], distances.weight)
    row: dict[str, Any] = {}
    for name, summary in zip(orders, summaries(worse.T).each(), strict=True):
        row |= interval(f"excess_{name}", summary)
    first, second = weigh(average, distances.weight)
    return {**row, "better_single": None if same(first, second) else pair[int(second < first)].label}


def _interaction(curves: ChainCurves, orders: Iterable[str]) -> dict[str, Any]:
    areas = curves.areas().T
    with np.errstate(invalid="ignore"):
        index = areas[:-3] - areas[-3] - areas[-2] + areas[-1]
    row: dict[str, Any] = {}
    for name, summary in zip(orders, summaries(index).each(), strict=True):
        row |= interval(f"interaction_{name}", summary, p=True)
    return row


def _logit(values: Array, counts: Array, scale: Scale) -> Array:
    """Log odds of a share of `counts` items; NaN at an end of the range where the number of items is not known."""
    low, high = scale.low or 0.0, scale.high or 1.0
    share, half = (values - low) / (high - low), np.where(np.isnan(counts), 0.0, 0.5 / counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.log((share + half) / (1 - share + half))
    return np.where(np.isfinite(odds), odds, np.nan)

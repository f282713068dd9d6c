"""Figure 5 of the workshop paper: both orders over average bits, and the two areas that they enclose.

    𝒜 = ∫ |a − b|  between the orders, shaded in colour        𝒫 = ∫ (1 − best)  up to the ideal, shaded in grey

("Composing Knowledge and Compression Interventions for Language Models", 2024; criteria of which more is better.)
Average bits run from few to many; the axis is not rescaled, so both areas are in the criterion's unit times bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from rayci.analysis.answering.aims import aim_of, concerns, utility_criterion
from rayci.analysis.composing.metric_table import metrics
from rayci.analysis.page.drawing import COLOURS, Line, lines
from rayci.analysis.page.print_style import WIDTH, blank
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.curve import Curve, curves
from rayci.analysis.statistics.piecewise import Array, pieces
from rayci.analysis.text.tables import records_of, short
from rayci.errors import RequestError
from rayci.kinds import Direction
from rayci.table import ResultTable

LIMIT = 6
"""Pairs in one figure."""
COLUMNS = 4
"""Criteria in one figure."""
_BITS = ("avg_bits_nominal", "avg_bits")

_Areas = Mapping[tuple[str, str], tuple[float | None, float | None]]
"""(pair, criterion) -> 𝒜 and 𝒫."""


def over_bits(table: ResultTable) -> Any:
    """The figure of the first LIMIT pairs with a compressor; RequestError where average bits were not measured."""
    held = curves(table)
    bits = _bits(held)
    names = _criteria(table)
    pairs = [pair for pair in dict.fromkeys(_pair(curve) for curve in held if _told(curve, names)) if pair in bits]
    pairs = pairs[:LIMIT]
    if not names or not pairs:
        raise RequestError("no pair with average bits and a criterion of which more is better", hint="measure avg_bits")
    by_panel: dict[tuple[str, str], list[Curve]] = {}
    for curve in held:
        by_panel.setdefault((_pair(curve), curve.criterion), []).append(curve)
    areas = _areas(table, names)
    figure = blank(WIDTH, 0.6 + 1.4 * len(pairs))
    grid = figure.subplots(len(pairs), len(names), squeeze=False)
    for axes, pair in zip(grid, pairs, strict=True):
        for cell, name in zip(axes, names, strict=True):
            members = by_panel.get((pair, name), [])
            if members and _told(members[0], names):
                _panel(cell, lines(members), bits[pair], scale_of(table, name).high or 1.0, areas.get((pair, name)))
            else:
                cell.set(xticks=[], yticks=[])
                cell.spines[:].set_visible(False)
        axes[0].set_ylabel(pair.replace("{", "\n{"), fontweight="bold")
    for cell, name in zip(grid[0], names, strict=True):
        cell.set_title(name.replace("_", " "))
    for cell in (cell for cell in grid[-1] if cell.lines):
        cell.set_xlabel("average bits per weight")
    _legend(figure)
    return figure


def _criteria(table: ResultTable) -> list[str]:
    """Those with a best value above: of the methods' aims the first ones, and general utility."""
    held = chosen_criteria(table, None)
    utility = utility_criterion({name: scale_of(table, name) for name in held})
    aims = [name for name in held if aim_of(name) is not None and _has_top(table, name)]
    return [*aims[: COLUMNS - 1], *([utility] if utility and _has_top(table, utility) else [])]


def _told(curve: Curve, names: Sequence[str]) -> bool:
    """Whether it is of a pair about which its criterion, one of these, says something."""
    two = len(curve.pair) == 2 and curve.criterion in names
    return two and concerns(curve.criterion, {variant.kind for variant in curve.pair})


def _has_top(table: ResultTable, name: str) -> bool:
    scale = scale_of(table, name)
    return scale.direction is Direction.HIGHER and scale.high is not None


def _pair(curve: Curve) -> str:
    return " × ".join(variant.label for variant in curve.pair)


def _bits(held: Iterable[Curve]) -> dict[str, dict[float | None, float]]:
    """Pair -> γ -> average bits: the nominal ones where measured, the mean of all orders and batches."""
    measured: dict[str, dict[str, dict[float | None, list[float]]]] = {}
    for curve in held:
        if curve.criterion in _BITS and len(curve.pair) == 2 and curve.axis is not None:
            by_gamma = measured.setdefault(_pair(curve), {}).setdefault(curve.criterion, {})
            for point in curve.points:
                by_gamma.setdefault(point.strength, []).extend([] if point.value is None else [point.value])
    chosen = {pair: next(by[name] for name in _BITS if name in by) for pair, by in measured.items()}
    return {
        pair: {gamma: fmean(values) for gamma, values in by_gamma.items() if values}
        for pair, by_gamma in chosen.items()
    }


def _areas(table: ResultTable, names: Sequence[str]) -> _Areas:
    records = records_of(metrics(table, axis="avg_bits", criteria=names))
    return {
        (f"{r['method_i']} × {r['method_j']}", r["criterion"]): (r["order_sensitivity"], r["order_free_error"])
        for r in records
    }


def _panel(
    cell: Any,
    orders: Sequence[Line],
    bits: Mapping[float | None, float],
    ideal: float,
    areas: tuple[float | None, float | None] | None,
) -> None:
    heights = [{mark.strength: mark.mean for mark in line.marks} for line in orders]
    for line, height, colour, style in zip(orders, heights, COLOURS, ("o-", "s--"), strict=False):
        known = sorted((bits[g], math.nan if y is None else y) for g, y in height.items() if g in bits)
        cell.plot(*zip(*known, strict=True), style, color=colour, markerfacecolor="white", label=line.name)
    if len(heights) == 2:
        both = sorted(
            (bits[gamma], heights[0][gamma], heights[1][gamma])
            for gamma in heights[0]
            if gamma in bits and heights[0][gamma] is not None and heights[1].get(gamma) is not None
        )
        _areas_between(cell, np.array(both, dtype=float).reshape(-1, 3), ideal)
    cell.set_ylim(-0.05 * ideal, 1.05 * ideal)
    if areas is not None:
        text = f"A {short(areas[0])}\nP {short(areas[1])}"
        cell.text(0.97, 0.05, text, transform=cell.transAxes, fontsize=6, ha="right")


def _areas_between(cell: Any, both: Array, ideal: float) -> None:
    """Shade both areas of curves `[points, (bits, first, second)]`, with their crossings as corners."""
    if len(both) < 2:
        return
    x, curves_of_orders = both[:, 0], both[:, 1:].T
    parts = pieces(x, curves_of_orders, rescale=False)
    places, first, second = parts.at(np.vstack([x, curves_of_orders])).reshape(3, -1)
    cell.fill_between(places, first, second, color=COLOURS[2], alpha=0.3, linewidth=0)
    cell.fill_between(places, np.maximum(first, second), ideal, color="#d9dce2", alpha=0.6, linewidth=0)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [
        Line2D([], [], color=COLOURS[0], marker="o", markerfacecolor="white", label="row's first method first"),
        Line2D([], [], color=COLOURS[1], marker="s", markerfacecolor="white", linestyle="--", label="the other first"),
        Patch(color=COLOURS[2], alpha=0.3, linewidth=0, label="A: between the orders"),
        Patch(color="#d9dce2", alpha=0.6, linewidth=0, label="P: from the better one to the ideal"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=4, frameon=False)

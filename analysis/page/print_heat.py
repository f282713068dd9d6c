"""Heat maps: order-free error and order sensitivity of every pair of methods, a row of maps for each criterion.

Columns and rows are methods; a pair stands once. A cell is empty where its criterion says nothing about the methods, or
they were not composed, and has a dash where orders ran and give no number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rayci.analysis.answering.aims import concerns, goals, utility_criterion
from rayci.analysis.composing.metric_table import metrics
from rayci.analysis.page.print_style import COLOUR_MAP, WIDTH, blank
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.text.tables import records_of, short
from rayci.errors import RequestError
from rayci.kinds import Kind
from rayci.table import ResultTable

METRICS = {"order_free_error": "order-free error", "order_sensitivity": "order sensitivity"}
_Pair = tuple[str, str]


def heat_maps(table: ResultTable) -> Any:
    """The figure, with the first criterion of every aim and general utility.

    RequestError where no pair of methods ran in both orders.
    """
    held = chosen_criteria(table, None)
    utility = utility_criterion({name: scale_of(table, name) for name in held})
    names = [*goals(held, list(Kind)), *([utility] if utility else [])]
    by_criterion: dict[str, dict[_Pair, Mapping[str, Any]]] = {}
    for record in records_of(metrics(table, criteria=names)):
        if record["n_points"] and concerns(record["criterion"], {record["kind_i"], record["kind_j"]}):
            pair = record["method_i"], record["method_j"]
            by_criterion.setdefault(record["criterion"], {})[pair] = record
    if not by_criterion:
        raise RequestError("the table composes no pair of methods in both orders")
    heights = [0.9 + 0.17 * len({row for _, row in cells}) for cells in by_criterion.values()]
    figure = blank(WIDTH, sum(heights))
    grid = figure.subplots(len(by_criterion), 2, squeeze=False, height_ratios=heights)
    for axes, (name, cells) in zip(grid, by_criterion.items(), strict=True):
        for cell, (metric, title) in zip(axes, METRICS.items(), strict=True):
            cell.set_title(f"{name.replace('_', ' ')}: {title}")
            _map(cell, cells, metric)
    return figure


def _map(cell: Any, cells: Mapping[_Pair, Mapping[str, Any]], metric: str) -> None:
    columns, rows = (list(dict.fromkeys(pair[side] for pair in cells)) for side in (0, 1))
    known = {pair: record[metric] for pair, record in cells.items() if record[metric] is not None}
    top = max((value for value in known.values() if math.isfinite(value)), default=0.0) or 1.0
    shades = [[min(known.get((column, row), math.nan), top) for column in columns] for row in rows]
    cell.imshow(shades, cmap=COLOUR_MAP, vmin=0.0, vmax=top, aspect="auto")
    for column, row in cells:
        x, y, value = columns.index(column), rows.index(row), known.get((column, row))
        colour = "black" if value is None or value >= 0.6 * top else "white"
        cell.text(x, y, short(value), ha="center", va="center", fontsize=6, color=colour)
    cell.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    cell.set_yticks(range(len(rows)), rows)
    cell.tick_params(length=0)
    cell.spines[:].set_visible(False)

"""The overview picture (matplotlib): small multiples, pairs down and criteria across, both orders in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayci.analysis.page import drawing
from rayci.analysis.page.drawing import COLOURS, GREY, Line
from rayci.analysis.scan.cells import chosen_criteria, final_cells, scale_of
from rayci.analysis.scan.curve import Curve, curves
from rayci.analysis.scan.family import families
from rayci.errors import RequestError
from rayci.kinds import Scale
from rayci.storage.atomic import replacing
from rayci.table import ResultTable

LIMIT = 8
"""Pairs in one picture where none are named: more would be too small to read."""
NO_PAIR = "the table composes no pair of methods"


def write_overview(
    table: ResultTable, path: Path | str, criteria: Sequence[str] | None = None, pairs: Sequence[str] | None = None
) -> Path:
    """Draw pairs × criteria into a PNG, SVG or PDF (by suffix) and return its path.

    `pairs` are names like `ft × wanda` or `ft,wanda`; without them, the first LIMIT pairs with
    a swept strength (or without, where there is none). Written under another name first, so
    that the file is complete or absent. Raises RequestError for unknown pairs and suffixes.
    """
    from matplotlib import rc_context

    target = Path(path)
    if target.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise RequestError(f"cannot draw into {target.name!r}", allowed="a path that ends in .png, .svg or .pdf")
    names = chosen_criteria(table, criteria)
    held = curves(table, names)
    rows = _rows(held, pairs)
    # Names are no mathematics: matplotlib would typeset what stands between two dollar signs.
    with rc_context({"text.parse_math": False}), replacing(target) as temporary:
        figure = _draw(table, held, rows, names)
        figure.savefig(temporary, format=target.suffix[1:].lower(), dpi=150, facecolor="white")
    return target


def has_pairs(table: ResultTable) -> bool:
    """Whether there is anything to draw: the table composes two methods."""
    return any(len(family.pair) == 2 for family in families(final_cells(table)))


def _rows(held: Sequence[Curve], pairs: Sequence[str] | None) -> list[str]:
    couples = [curve for curve in held if len(curve.pair) == 2]
    known = list(dict.fromkeys(_pair(curve) for curve in couples))
    if pairs is None:
        swept = list(dict.fromkeys(_pair(curve) for curve in couples if curve.axis is not None))
        shown = (swept or known)[:LIMIT]
    else:
        shown = [" × ".join(part.strip() for part in name.replace("×", ",").split(",")) for name in pairs]
    unknown = [name for name in shown if name not in known]
    if unknown or not shown:
        problem = f"no pair {unknown[0]!r} in the table" if unknown else NO_PAIR
        raise RequestError(problem, allowed=", ".join(known[:20]) or None)
    return shown


def _draw(table: ResultTable, held: Sequence[Curve], rows: Sequence[str], names: Sequence[str]) -> Any:
    # Figure without pyplot: no global state, no display, and nothing to close.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.7 + 2.15 * len(names), 0.9 + 1.55 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(names), squeeze=False)
    singles = [curve for curve in held if len(curve.pair) == 1]
    for row, pair in enumerate(rows):
        for column, name in enumerate(names):
            members = [curve for curve in held if _pair(curve) == pair and curve.criterion == name]
            cell = grid[row][column]
            _panel(cell, members, [c for c in singles if c.criterion == name], scale_of(table, name))
            if row == 0:
                cell.set_title(f"{name}\n({drawing.better(scale_of(table, name))})", fontsize=8.5)
            if column == 0:
                cell.set_ylabel(pair, fontsize=9, fontweight="bold")
    _legend(figure, 6 if len(names) > 4 else 3)
    return figure


def _panel(cell: Any, members: Sequence[Curve], singles: Sequence[Curve], scale: Scale) -> None:
    cell.tick_params(labelsize=7, length=2)
    cell.spines[["top", "right"]].set_visible(False)
    cell.grid(axis="y", color="#e8eaee", linewidth=0.7)
    cell.set_axisbelow(True)
    if not members:
        cell.text(0.5, 0.5, "not measured", transform=cell.transAxes, ha="center", fontsize=7, color=GREY)
        return
    held, references = drawing.lines(members), drawing.alone(singles, members)
    swept = members[0].axis is not None
    if swept:
        for line in references:
            _reference(cell, line)
    for index, line in enumerate(held):
        colour = COLOURS[0 if line.name.startswith(f"{members[0].pair[0].label} >") else 1]
        _order(cell, line, colour, index, swept)
    if drawing.is_logarithmic([*held, *references], scale):
        cell.set_yscale("log")
    elif scale.low is not None and scale.high is not None:
        margin = 0.04 * (scale.high - scale.low)
        cell.set_ylim(scale.low - margin, scale.high + margin)
    _horizontal(cell, members[0], held, swept)


def _horizontal(cell: Any, curve: Curve, held: Sequence[Line], swept: bool) -> None:
    if swept:
        grid = [point.strength for point in curve.points if point.strength is not None]
        cell.set_xticks(grid, [f"{gamma:g}".replace("0.", ".") for gamma in grid])
        cell.set_xlabel(drawing.axis_title(curve), fontsize=7, labelpad=1)
    else:
        cell.set_xlim(-0.7, len(held) - 0.3)
        cell.set_xticks(range(len(held)), [line.name for line in held], fontsize=7)


def _order(cell: Any, line: Line, colour: str, index: int, swept: bool) -> None:
    marks = [mark for mark in line.marks if mark.values]
    if not swept:
        for mark in marks:
            cell.plot([index] * len(mark.values), mark.values, "o", color=colour, markersize=5, alpha=0.75)
    elif marks:
        xs = [mark.strength for mark in marks]
        low, high = [min(mark.values) for mark in marks], [max(mark.values) for mark in marks]
        cell.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
        # NaN breaks the line: drawing through a missing point would fill it in.
        means = [math.nan if mark.mean is None else mark.mean for mark in line.marks]
        cell.plot([mark.strength for mark in line.marks], means, "-o", color=colour, linewidth=1.6, markersize=3.5)
    for mark in line.marks:
        if not mark.values:
            infinite = mark.problems == ("infinite",)
            x = mark.strength if swept else index
            height, sign = (0.97 - 0.06 * index, "^") if infinite else (0.03 + 0.06 * index, "x")
            foot = cell.get_xaxis_transform()
            cell.plot([x], [height], sign, color=colour, markersize=5, transform=foot, clip_on=False)


def _reference(cell: Any, line: Line) -> None:
    marks = [mark for mark in line.marks if mark.values]
    if marks and marks[0].strength is None:
        cell.axhline(marks[0].mean, color=GREY, linewidth=0.9, linestyle=":")
    elif marks:
        cell.plot([mark.strength for mark in marks], [mark.mean for mark in marks], "--", color=GREY, linewidth=0.9)


def _legend(figure: Any, columns: int) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=COLOURS[0], marker="o", markersize=4, label="row's first method, then its second"),
        Line2D([], [], color=COLOURS[1], marker="o", markersize=4, label="the other way round"),
        Line2D([], [], color=GREY, linestyle="--", linewidth=0.9, label="the swept method alone"),
        Line2D([], [], color=GREY, linestyle=":", linewidth=0.9, label="the other alone"),
        Line2D([], [], color="#444", marker="x", linestyle="", markersize=5, label="no value"),
        Line2D([], [], color="#444", marker="^", linestyle="", markersize=5, label="infinite"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def _pair(curve: Curve) -> str:
    return " × ".join(variant.label for variant in curve.pair)

"""Figures 2 and 3 of arXiv 2407.06483: what compression leaves of an edit, or of unlearning, in either order.

The same of what further training leaves. A row for every editor (or unlearner) and kind of strength, a column for every
criterion of its aim and general utility. One colour for each compressor (or trainer); solid where it comes last, dashed
where it comes first. Grey dots: the editor alone. Means over edit batches and seeds; a gap where a value is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rayci.analysis.answering.aims import aim_of, utility_criterion
from rayci.analysis.page.drawing import COLOURS, GREY, better, is_logarithmic, lines
from rayci.analysis.page.print_style import WIDTH, blank
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.curve import Curve, curves
from rayci.analysis.scan.variant import Variant
from rayci.errors import RequestError
from rayci.kinds import Direction, Kind, Scale
from rayci.table import ResultTable

_Row = tuple[str, str]
"""Partner and name of the strength."""


def under(table: ResultTable, kind: Kind, by: Kind) -> Any:
    """The figure of all methods of one kind under the swept ones of another; RequestError where none meet."""
    names = _criteria(table, kind)
    held = [curve for curve in curves(table, names) if _shown(curve, kind, by)]
    rows = list(dict.fromkeys(_row(curve, kind) for curve in held if len(curve.pair) == 2))
    if not rows:
        raise RequestError(f"the table composes no method of kind {kind} with a swept one of kind {by}")
    colours = _colours(held)
    figure = blank(WIDTH, 0.6 + 1.25 * len(rows))
    grid = figure.subplots(len(rows), len(names), squeeze=False)
    by_panel: dict[tuple[_Row, str], list[Curve]] = {}
    alone: dict[tuple[str, str], list[Curve]] = {}
    for curve in held:
        if len(curve.pair) == 2:
            by_panel.setdefault((_row(curve, kind), curve.criterion), []).append(curve)
        else:
            alone.setdefault((curve.pair[0].label, curve.criterion), []).append(curve)
    for axes, row in zip(grid, rows, strict=True):
        for cell, name in zip(axes, names, strict=True):
            scale = scale_of(table, name)
            _panel(cell, by_panel.get((row, name), []), alone.get((row[0], name), []), colours, scale)
            cell.set_xlabel(row[1])
        axes[0].set_ylabel(row[0].replace("{", "\n{"), fontweight="bold")
    for cell, name in zip(grid[0], names, strict=True):
        cell.set_title(f"{name.replace('_', ' ')}\n({better(scale_of(table, name))})", fontsize=7)
    _legend(figure, colours, kind, by)
    return figure


def _criteria(table: ResultTable, kind: Kind) -> list[str]:
    held = chosen_criteria(table, None)
    utility = utility_criterion({name: scale_of(table, name) for name in held})
    return [name for name in held if aim_of(name) is kind or name == utility]


def _shown(curve: Curve, kind: Kind, by: Kind) -> bool:
    """Curves over γ of the other kind with a method of this kind, and such a method alone."""
    kinds = sorted(variant.kind for variant in curve.pair)
    swept = curve.axis is not None and curve.axis.kind is by
    return kinds == [kind] or (swept and kinds == sorted([kind, by]))


def _row(curve: Curve, kind: Kind) -> _Row:
    partner = next(variant.label for variant in curve.pair if variant.kind is kind)
    return partner, str(curve.axis.strength_name) if curve.axis else ""


def _colours(held: Iterable[Curve]) -> Mapping[str, str]:
    """The colour of every swept method, by label."""
    labels = dict.fromkeys(_swept(curve).label for curve in held if len(curve.pair) == 2)
    return {label: COLOURS[index % len(COLOURS)] for index, label in enumerate(labels)}


def _panel(cell: Any, pairs: Sequence[Curve], alone: Sequence[Curve], colours: Mapping[str, str], scale: Scale) -> None:
    cell.grid(axis="y", color="#e8eaee", linewidth=0.5)
    drawn = []
    for swept in dict.fromkeys(_swept(curve).label for curve in pairs):
        members = [curve for curve in pairs if _swept(curve).label == swept]
        for line in lines(members):
            last = next(curve for curve in members if curve.name == line.name).order[-1].label == swept
            means = [math.nan if mark.mean is None else mark.mean for mark in line.marks]
            places = [mark.strength for mark in line.marks]
            cell.plot(places, means, "o-" if last else "s--", color=colours[swept], markerfacecolor="white")
            drawn.append(line)
    for line in lines(alone):
        if line.marks[0].mean is not None:
            cell.axhline(line.marks[0].mean, color=GREY, linestyle=":", linewidth=0.9)
    if pairs:
        grid = [point.strength for point in pairs[0].points if point.strength is not None]
        cell.set_xticks(grid, [f"{gamma:g}".removeprefix("0") or "0" for gamma in grid])
    _limits(cell, drawn, scale)


def _limits(cell: Any, drawn: Sequence[Any], scale: Scale) -> None:
    if is_logarithmic(drawn, scale):
        cell.set_yscale("log")
    elif scale.low is not None and scale.high is not None:
        margin = 0.05 * (scale.high - scale.low)
        cell.set_ylim(scale.low - margin, scale.high + margin)
    if scale.chance and scale.direction is not Direction.NONE:
        cell.axhline(scale.chance, color=GREY, linewidth=0.5)


def _swept(curve: Curve) -> Variant:
    assert curve.axis is not None
    return curve.axis


def _legend(figure: Any, colours: Mapping[str, str], kind: Kind, by: Kind) -> None:
    from matplotlib.lines import Line2D

    entries = [Line2D([], [], color=colour, label=label) for label, colour in colours.items()]
    entries += [
        Line2D([], [], color="#444", marker="o", markerfacecolor="white", label=f"{kind}, then {by}"),
        Line2D([], [], color="#444", marker="s", markerfacecolor="white", linestyle="--", label=f"{by}, then {kind}"),
        Line2D([], [], color=GREY, linestyle=":", label=f"{kind} alone"),
        Line2D([], [], color=GREY, linewidth=0.5, label="chance"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=4, frameon=False)

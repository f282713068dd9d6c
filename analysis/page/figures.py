"""Interactive figures (plotly): the curves of all orders of one pair for one criterion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rayci.analysis.page import drawing
from rayci.analysis.page.drawing import COLOURS, GREY, Line
from rayci.analysis.scan.curve import Curve
from rayci.analysis.text.escaping import label
from rayci.errors import RequestError
from rayci.kinds import Scale

if TYPE_CHECKING:
    import plotly.graph_objects as go

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"


def curve_figure(curves: Sequence[Curve], scale: Scale, singles: Sequence[Curve] = ()) -> go.Figure:
    """Means over replicates as lines, the replicates' range as a band, missing points as crosses.

    `curves`: all orders and replicates of one pair and criterion; `singles`: curves of single
    methods, of which the pair's are drawn dotted. Crosses at the foot carry their reason,
    triangles at the top are infinite. Raises RequestError where `curves` is empty.
    """
    import plotly.graph_objects as go

    return go.Figure(figure_dict(curves, scale, singles))


def figure_dict(curves: Sequence[Curve], scale: Scale, singles: Sequence[Curve] = ()) -> dict[str, Any]:
    """The same figure as plain data and layout, which plotly.js draws; needs no plotly."""
    if not curves:
        raise RequestError("no curve to draw")
    held = [_plain(line) for line in drawing.lines(curves)]
    references = [_plain(line) for line in drawing.alone(singles, curves)]
    swept = curves[0].axis is not None
    traces = []
    for index, line in enumerate(held):
        colour = COLOURS[index % len(COLOURS)]
        curve = [*_band(line, colour), _line(line, colour), *_flags(line, colour, 0.04 * index)]
        traces += curve if swept else _dots(line, colour)
    grid = [point.strength for point in curves[0].points]
    traces += [trace for line in references if (trace := _reference(line, grid, swept))]
    return {"data": traces, "layout": _layout(curves[0], scale, drawing.is_logarithmic([*held, *references], scale))}


def _plain(line: Line) -> Line:
    """The line with its name and problems as text: plotly reads some HTML in them."""
    marks = (replace(mark, problems=tuple(map(label, mark.problems))) for mark in line.marks)
    return Line(label(line.name), tuple(marks))


def _line(line: Line, colour: str) -> dict[str, Any]:
    # A null breaks the line: drawing through a missing point would fill it in.
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "connectgaps": False,
        "name": line.name,
        "legendgroup": line.name,
        "x": [mark.strength for mark in line.marks],
        "y": [mark.mean for mark in line.marks],
        "customdata": [_spread(mark) for mark in line.marks],
        "line": {"color": colour, "width": 2.5},
        "marker": {"color": colour, "size": 8},
        "hovertemplate": "%{y:.4g} %{customdata}",
    }


def _spread(mark: drawing.Mark) -> str:
    if len(mark.values) < 2 and not mark.problems:
        return ""
    if not mark.values:
        return "; ".join(mark.problems)
    text = f"({min(mark.values):.3g} … {max(mark.values):.3g}, n = {len(mark.values)})"
    return " ".join([text, *mark.problems])


def _band(line: Line, colour: str) -> list[dict[str, Any]]:
    """The replicates' range, where there are several."""
    marks = [mark for mark in line.marks if mark.values]
    if all(len(mark.values) < 2 for mark in marks):
        return []
    xs = [mark.strength for mark in marks]
    edge = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    low = {**edge, "x": xs, "y": [min(mark.values) for mark in marks], "legendgroup": line.name}
    high = {**edge, "x": xs, "y": [max(mark.values) for mark in marks], "legendgroup": line.name}
    return [low, {**high, "fill": "tonexty", "fillcolor": _faint(colour)}]


def _flags(line: Line, colour: str, shift: float) -> list[dict[str, Any]]:
    """Points without a finite value: a cross at the foot, or a triangle at the top for infinity."""
    flagged = [mark for mark in line.marks if mark.problems and not mark.values]
    if not flagged:
        return []
    infinite = [mark.problems == ("infinite",) for mark in flagged]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": f"{line.name}: no value",
            "legendgroup": line.name,
            "showlegend": False,
            "x": [mark.strength for mark in flagged],
            "y": [0.97 - shift if top else 0.03 + shift for top in infinite],
            "yaxis": "y2",
            "text": ["; ".join(mark.problems) for mark in flagged],
            "marker": {
                "color": colour,
                "size": 11,
                "line": {"width": 2, "color": colour},
                "symbol": ["triangle-up" if top else "x-thin" for top in infinite],
            },
            "hovertemplate": "%{text}",
        }
    ]


def _dots(line: Line, colour: str) -> list[dict[str, Any]]:
    """Nothing is swept: the replicates of one order above its name."""
    mark = line.marks[0]
    values = mark.values or (None,)
    problem = "; ".join(mark.problems)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": line.name + (f" ({problem})" if problem else ""),
            "x": [line.name] * len(values),
            "y": list(values),
            "marker": {"color": colour, "size": 12, "opacity": 0.75},
            "hovertemplate": "%{y:.4g}",
        }
    ]


def _reference(line: Line, grid: Sequence[float | None], swept: bool) -> dict[str, Any] | None:
    marks = [mark for mark in line.marks if mark.values]
    if not marks:
        return None
    flat = marks[0].strength is None
    look = {"type": "scatter", "name": f"{line.name} alone", "hovertemplate": "%{y:.4g}"}
    if not swept:
        point = {"x": [f"{line.name} alone"], "y": [marks[0].mean], "marker": {"color": GREY, "size": 10}}
        return {**look, **point, "mode": "markers"}
    xs = grid if flat else [mark.strength for mark in marks]
    ys = [marks[0].mean] * len(grid) if flat else [mark.mean for mark in marks]
    dash = "dot" if flat else "dash"
    return {**look, "mode": "lines", "x": list(xs), "y": ys, "line": {"color": GREY, "width": 1.5, "dash": dash}}


def _layout(curve: Curve, scale: Scale, logarithmic: bool) -> dict[str, Any]:
    unit = f", {scale.unit}" if scale.unit else ""
    bounded = scale.low is not None and scale.high is not None
    margin = 0.04 * ((scale.high or 0) - (scale.low or 0))
    rule = "#c9ced6"
    lines = {"gridcolor": "#e8eaee", "zeroline": False, "linecolor": rule, "ticks": "outside", "tickcolor": rule}
    vertical: dict[str, Any] = {
        **lines,
        "title": {"text": f"{label(curve.criterion)}{label(unit)} ({drawing.better(scale)})"},
    }
    if bounded:
        vertical["range"] = [(scale.low or 0) - margin, (scale.high or 0) + margin]
    if logarithmic:
        vertical |= {"type": "log", "exponentformat": "power"}
    horizontal: dict[str, Any] = {**lines, "title": {"text": label(drawing.axis_title(curve))}}
    if curve.axis is not None:
        horizontal |= {"tickmode": "array", "tickvals": [point.strength for point in curve.points]}
    return {
        "template": None,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "#ffffff",
        "font": {"family": _FONT, "size": 13, "color": "#1f2430"},
        "margin": {"l": 76, "r": 16, "t": 44, "b": 60},
        "xaxis": horizontal,
        "yaxis": {**vertical},
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        "hovermode": "x unified" if curve.axis is not None else "closest",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "#a9b0bb", "activecolor": "#1f2430"},
        "shapes": _chance(scale),
    }


def _chance(scale: Scale) -> list[dict[str, Any]]:
    if scale.chance is None:
        return []
    line = {"color": GREY, "width": 1, "dash": "dot"}
    label = {"text": "chance", "font": {"size": 11, "color": GREY}, "textposition": "end", "yanchor": "bottom"}
    ends = {"xref": "paper", "x0": 0, "x1": 1, "y0": scale.chance, "y1": scale.chance}
    return [{"type": "line", **ends, "line": line, "label": label}]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"

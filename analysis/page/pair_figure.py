"""One figure by one call: the curves of a pair of methods, chosen by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rayci.analysis.page.figures import curve_figure
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.curve import Curve, curves
from rayci.errors import RequestError
from rayci.table import ResultTable

if TYPE_CHECKING:
    import plotly.graph_objects as go


def pair_figure(table: ResultTable, criterion: str, methods: Sequence[str] = (), along: str | None = None) -> go.Figure:
    """All orders of the one set of methods that has all these `methods`, by name or by label; singles are dotted.

    Raises RequestError for an unknown criterion, and where no set of methods has them all, or several have.
    """
    chosen_criteria(table, [criterion])
    drawn = curves(table, [criterion], along)
    singles = [curve for curve in drawn if len(curve.pair) == 1]
    sets: dict[str, list[Curve]] = {}
    for curve in drawn:
        if len(curve.pair) > 1 and all(any(name in (v.label, v.method) for v in curve.pair) for name in methods):
            sets.setdefault(", ".join(variant.label for variant in curve.pair), []).append(curve)
    if len(sets) != 1:
        held = sorted({", ".join(v.label for v in curve.pair) for curve in drawn if len(curve.pair) > 1})
        problem = f"{len(sets)} sets of methods have" if sets else "no set of methods has"
        raise RequestError(f"{problem} {', '.join(methods) or 'these methods'}", allowed="; ".join(sets or held))
    (members,) = sets.values()
    return curve_figure(members, scale_of(table, criterion), singles)

"""A fixed range of γ for areas, the same for every set of methods: bits from 3 to 8, cut between points of the grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from rayci.analysis.composing.bounded import Leeway
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.reading_point import same
from rayci.errors import RequestError, nearest

Range = tuple[float, float]


def checked(over: Mapping[str, Range], families: Iterable[Family]) -> Mapping[str, Range]:
    """The ranges; RequestError for a name that no axis bears, and for a range without width."""
    axes = [family.axis for family in families if family.axis]
    known = sorted({name for axis in axes for name in (axis.method, axis.strength_name or "")} - {""})
    for name, (low, high) in over.items():
        if name not in known:
            problem = f"nothing named {name!r} is swept in the table"
            raise RequestError(problem, allowed=", ".join(known) or "none", hint=nearest(name, known))
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise RequestError(f"{name} over {low:g} to {high:g}", allowed="a lower and a higher number")
    return over


def within_range(family: Family, over: Mapping[str, Range]) -> tuple[Leeway, str | None]:
    """What is left to either end at each γ of the family, and why the range cannot be read where it cannot.

    A set of methods whose axis has no range keeps all of it.
    """
    axis = family.axis
    asked = None if axis is None else over.get(axis.method, over.get(axis.strength_name or ""))
    if axis is None or asked is None:
        return Leeway(np.ones((2, len(family.grid))), {}), None
    low, high = asked
    gammas = np.array(family.grid, dtype=np.float64)
    said = f"{axis.strength_name} {low:g} to {high:g}"
    problems: dict[float | None, str] = {
        gamma: f"outside of {said}" for gamma in family.grid if gamma is not None and not low <= gamma <= high
    }
    first, last = float(np.nanmin(gammas)), float(np.nanmax(gammas))
    problem = None
    if not ((first <= low or same(first, low)) and (last >= high or same(last, high))):
        problem = f"{axis.label} ran from {first:g} to {last:g}, not over the whole of {said}"
    elif len(problems) == len(family.grid):
        problem = f"no point of {axis.label} lies in {said}"
    return Leeway(np.stack([gammas - low, high - gammas]), problems), problem

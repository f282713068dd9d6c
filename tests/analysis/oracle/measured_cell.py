"""One cell of the composability table: a set of methods and a criterion, to numbers and reasons."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rayci.analysis.scan.reading_point import Place, same
from rayci.analysis.scan.variant import Variant
from rayci.kinds import Scale
from tests.analysis.oracle.average_bits import Places, bits_of
from tests.analysis.oracle.bounded import Bounds
from tests.analysis.oracle.curve import Family, Order
from tests.analysis.oracle.intervals import LEAST_UNITS, Summary
from tests.analysis.oracle.lost_points import Bounds as LostBounds
from tests.analysis.oracle.lost_points import bounds as bounds_of
from tests.analysis.oracle.piecewise import Array
from tests.analysis.oracle.samples import Gap, Samples, samples
from tests.analysis.oracle.scoring import Reach, Score, score
from tests.analysis.oracle.verdicts import Evidence, margin_of


@dataclass(frozen=True)
class Reading:
    """Where and how every cell of a table is read."""

    place: Place
    axis: str
    """`scaled`, `gamma` or `avg_bits`."""
    bounds: Bounds | None
    margin: float
    """Share of a criterion's range within which orders count as equal."""

    @property
    def rescale(self) -> bool:
        """Whether integrals stay in the criterion's unit."""
        return self.axis == "scaled" or not self.place.is_area


@dataclass(frozen=True)
class Measured:
    """The numbers of a cell by column, and what it knows of its gap."""

    row: Mapping[str, Any]
    evidence: Evidence
    reasons: tuple[str, ...]


NOTHING = Evidence((), None, None, 0)


def measure(family: Family, criterion: str, scale: Scale, reading: Reading) -> Measured:
    """Read a family and criterion; where there is no number, the reasons say why."""
    gamma, problem = _gamma(family, reading.place)
    row: dict[str, Any] = {
        "strength": gamma,
        "points_asked": len(family.grid) if reading.place.is_area else 1,
        "unit": scale.unit,
        **dict.fromkeys(("n_points", "n_replicates", "sensitivity_points"), 0),
    }
    held = samples(family, criterion)
    if problem or not len(held.values):
        return Measured(row, NOTHING, (problem or f"{criterion} was not measured",))
    if gamma is not None:
        held = held.only([family.grid.index(gamma)])
    x, refused = _places(family, held, reading)
    if logarithm := scale.logarithmic and reading.place.is_area:
        row["unit"] = f"ln {criterion}"
        scale, held = _logarithm(scale), held.logarithm()
    reach, points, beyond = _reach(family, held, x, reading)
    lost = _lost(held, scale, x, reading)
    row |= _bounds(lost)
    gaps = {**held.gaps, **dict.fromkeys((*refused, *beyond), held.runs)}
    reasons = tuple(_reasons(gaps, held.runs, family))
    margin = margin_of(scale, reading.margin, logarithm=logarithm)
    n_lost = int((~held.present).sum()) if held.asked else 0
    evidence = Evidence((), margin, lost.gap if lost else None, n_lost)
    if reach is None:
        return Measured(row, evidence, reasons)
    measured = score(held.values[..., points], scale, reach)
    row |= _numbers(measured, held, scale) | {
        "n_points": len({held.grid[p] for p in points} - {gap.strength for gap in beyond}),
        "n_replicates": len(held.values),
    }
    row |= _kept(reach, x[points], [held.grid[point] for point in points])
    return Measured(row, replace(evidence, gaps=measured.gaps), (*reasons, *measured.notes))


def _gamma(family: Family, where: Place) -> tuple[float | None, str | None]:
    """γ of the point form on this family's axis, or why there is none."""
    if where.is_area or family.axis is None:
        return None, None
    gamma, name = where.of(family.axis), family.axis.strength_name
    if gamma is None:
        return None, f"no {name} was asked for"
    for held in family.grid:
        if held is not None and same(held, gamma):
            return held, None
    there = ", ".join(f"{held:g}" for held in family.grid if held is not None)
    return gamma, f"{name} {gamma:g} is not in the sweep of {family.axis.label}: {there}"


def _places(family: Family, held: Samples, reading: Reading) -> tuple[Array, list[Gap]]:
    """Places `[points]` of the grid on the axis, NaN where there is none, and why."""
    bits: Places = bits_of(family) if reading.axis == "avg_bits" and reading.place.is_area else {}
    places = [bits.get(gamma, 0.0 if gamma is None else gamma) for gamma in held.grid]
    refused = [
        Gap("left out", gamma, place) for gamma, place in zip(held.grid, places, strict=True) if isinstance(place, str)
    ]
    return np.array([np.nan if isinstance(place, str) else place for place in places]), refused


def _reach(family: Family, held: Samples, x: Array, reading: Reading) -> tuple[Reach | None, list[int], list[Gap]]:
    """Where the metrics are taken, the points of the grid with a place there, and those beyond a bound."""
    counted = np.flatnonzero(held.present & ~np.isnan(x))
    points = [int(point) for point in counted[np.argsort(x[counted], kind="stable")]]
    if not points:
        return None, [], []
    if reading.bounds is None:
        return Reach(x[points], rescale=reading.rescale), points, []
    leeway = reading.bounds.leeway(family)
    beyond = [Gap("left out", g, leeway.problems[g]) for g in (held.grid[p] for p in points) if g in leeway.problems]
    on_grid = [family.grid.index(held.grid[point]) for point in points]
    reach = leeway.reach(x[points], on_grid, rescale=reading.rescale)
    if reach is not None and len(reach.x) < len(points):
        points = [point for point in points if x[point] in reach.x]
    return reach, points, beyond


def _lost(held: Samples, scale: Scale, x: Array, reading: Reading) -> LostBounds | None:
    """Bounds where points were lost and every order ran; under a bound on γ or without a place they are not told."""
    if not held.ran or np.isnan(x).any() or reading.bounds is not None:
        return None
    return bounds_of(held.values, scale, x, rescale=reading.rescale)


def _bounds(lost: LostBounds | None) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for metric in ("order_free_error", "order_sensitivity"):
        low, high = getattr(lost, metric) if lost else (None, None)
        row |= {f"{metric}_bound_low": low, f"{metric}_bound_high": high}
    return row


def _numbers(measured: Score, held: Samples, scale: Scale) -> dict[str, Any]:
    row: dict[str, Any] = {
        **_interval("order_free_error", measured.order_free_error),
        **_interval("order_sensitivity", measured.order_sensitivity),
        "order_sensitivity_per_replicate": measured.per_replicate,
        "order_sensitivity_corrected": measured.corrected,
        "sensitivity_points": measured.sensitivity_points,
        **_ends(measured.costs, held.orders),
        **dict(zip(value_columns(held.orders[0]), measured.by_order, strict=True)),
        "gap_p": Evidence(measured.gaps, None, None, 0).p,
        "interval_of": held.units if len(held.values) >= LEAST_UNITS else None,
    }
    if len(held.orders) == 2:
        gap = measured.gap
        row |= {"gap": gap.mean, "gap_low": gap.low, "gap_high": gap.high}
    return row


def _interval(name: str, summary: Summary) -> dict[str, float | None]:
    """The interval of a metric that cannot be negative ends at 0."""
    low = None if summary.low is None else max(0.0, summary.low) if (summary.mean or 0.0) >= 0 else summary.low
    return {name: summary.mean, f"{name}_low": low, f"{name}_high": summary.high, f"{name}_se": summary.stderr}


def value_columns(pair: Sequence[Variant]) -> list[str]:
    """Columns of the criterion after each of `orders_of(pair)`: `value_ij` is i, then j."""
    columns: dict[Order, str] = {}
    for places in itertools.permutations(range(len(pair))):
        columns.setdefault(
            tuple(pair[place] for place in places), "value_" + "".join("ijkl"[place] for place in places)
        )
    return list(columns.values())


def _ends(costs: Sequence[float], orders: Sequence[Order]) -> dict[str, str | None]:
    """The best and the worst order; None where several share that place, or one has no value."""
    if np.isnan(costs).any():
        return {"best_order": None, "worst_order": None}
    ends = [[o for o, c in zip(orders, costs, strict=True) if same(c, end)] for end in (min(costs), max(costs))]
    named = [" > ".join(variant.label for variant in alike[0]) if len(alike) == 1 else None for alike in ends]
    return {"best_order": named[0], "worst_order": named[1]}


def _kept(reach: Reach, x: Array, gammas: Sequence[float | None]) -> dict[str, float | None]:
    """The lowest and highest γ that count."""
    known = [gamma for gamma in gammas if gamma is not None]
    if len(known) < len(gammas):
        return {"kept_low": None, "kept_high": None}
    ends = np.array([known[0], known[-1]])
    if reach.ends is not None and reach.kept is not None:
        places = np.concatenate([reach.ends[:-1][reach.kept], reach.ends[1:][reach.kept]])
        ends = np.interp([places.min(), places.max()], x, known)
    return {"kept_low": float(ends.min()), "kept_high": float(ends.max())}


def _logarithm(scale: Scale) -> Scale:
    low = None if scale.low is None or scale.low <= 0 else float(np.log(scale.low))
    return Scale(scale.direction, low, None, None, scale.unit)


def _reasons(gaps: Mapping[Gap, int], runs: int, family: Family) -> Iterator[str]:
    """Every gap once, with the γ and, where only some runs have it, how many."""
    together: dict[tuple[str, str, int], list[str]] = {}
    for gap, count in gaps.items():
        there = together.setdefault((gap.order, gap.reason, count), [])
        there += [] if gap.strength is None else [f"{gap.strength:g}"]
    for (order, reason, count), gammas in together.items():
        where = f" at {family.axis.strength_name} {', '.join(gammas)}" if gammas and family.axis else ""
        yield f"{order}{where}: {reason}" + ("" if count == runs else f" ({count} of {runs} replicates)")

"""Score one set of methods on one criterion: the orders' curves of one replicate to metrics.

A γ counts where every order of application has a value there. Where one has none the grid
shrinks, and the score says on how many of how many points it stands, and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rayci.analysis.composability import area, order_free_error, order_sensitivity
from rayci.analysis.curve import ABSENT, Curve, orders_of
from rayci.analysis.reading_point import same
from rayci.analysis.variant import Variant
from rayci.kinds import Scale

NO_TOP = "higher is better and the range has no top: no ideal to be away from"
BOTH_INFINITE = "infinite in every order: ∞ − ∞"


@dataclass(frozen=True, slots=True)
class Gap:
    """One γ of one order that has no value."""

    order: str
    strength: float | None
    """None where the order has no rows at all, or nothing is swept."""
    reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """The metrics of one replicate, in the criterion's unit (times the axis' where not rescaled)."""

    order_free_error: float | None
    order_sensitivity: float | None
    n_points: int
    sensitivity_points: int
    """Fewer than `n_points` where both orders are infinite."""
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
    """Why a metric is null although points are there."""
    values: Mapping[tuple[Variant, ...], float] = field(default_factory=dict)
    """Order -> the criterion itself, at the point or as area."""
    span: tuple[float, float] | None = None
    """The lowest and highest γ that count."""


Xs = Mapping[float | None, float | str | None]
"""γ -> its place on the axis (None where nothing is swept), or the reason why it does not count."""


def score(
    curves: Sequence[Curve], pair: Sequence[Variant], scale: Scale, at: float | None, xs: Xs, rescale: bool
) -> Score:
    """Metrics over the curves of one replicate, one for each order of `pair`.

    `at` is the γ of the point form, or None for the area form (and where nothing is swept);
    `xs` places γ on another axis, `rescale` maps the axis to [0, 1].
    """
    orders = orders_of(pair)
    by_order = {curve.order: curve for curve in curves}
    gaps = [gap for order in orders for gap in _gaps(order, by_order.get(order), at)]
    shared = _shared([by_order.get(order) for order in orders], at)
    placed: list[tuple[float | None, float | None]] = []
    for gamma in shared:
        x = xs[gamma]
        if isinstance(x, str):
            gaps.append(Gap("left out", gamma, x))
        else:
            placed.append((x, gamma))
    placed.sort(key=lambda entry: entry[0] or 0.0)
    return _measured([by_order[order] for order in orders] if placed else [], placed, scale, rescale, gaps)


def _measured(
    curves: Sequence[Curve],
    placed: Sequence[tuple[float | None, float | None]],
    scale: Scale,
    rescale: bool,
    gaps: Sequence[Gap],
) -> Score:
    columns = [(x, [curve.ok[gamma] for curve in curves]) for x, gamma in placed]
    errors = [(x, order_free_error(values, scale)) for x, values in columns]
    spreads = [(x, order_sensitivity(values)) for x, values in columns]
    known_errors = [(x, value) for x, value in errors if value is not None]
    known_spreads = [(x, value) for x, value in spreads if value is not None]
    notes = [NO_TOP] * (len(known_errors) < len(errors)) + [BOTH_INFINITE] * (len(known_spreads) < len(spreads))
    if len(columns) == 1 and not rescale:
        notes.append("one point has no area on an axis that is not rescaled")
    by_order = {}
    for index, curve in enumerate(curves):
        value = area([(x, values[index]) for x, values in columns], rescale=rescale)
        if value is not None:
            by_order[curve.order] = value
    error, spread = area(known_errors, rescale=rescale), area(known_spreads, rescale=rescale)
    gammas = [gamma for _, gamma in placed if gamma is not None]
    span = (min(gammas), max(gammas)) if gammas else None
    return Score(error, spread, len(columns), len(known_spreads), tuple(gaps), tuple(notes), by_order, span)


def _shared(curves: Sequence[Curve | None], at: float | None) -> list[float | None]:
    """Every γ at which all orders have a value; only the one asked for in the point form."""
    present = [curve for curve in curves if curve is not None]
    if not present or len(present) < len(curves):
        return []
    common = [gamma for gamma in present[0].ok if all(gamma in curve.ok for curve in present)]
    return [gamma for gamma in common if at is None or (gamma is not None and same(gamma, at))]


def _gaps(order: Sequence[Variant], curve: Curve | None, at: float | None) -> list[Gap]:
    if curve is None:
        return [Gap(" > ".join(variant.label for variant in order), None, ABSENT)]
    asked = [p for p in curve.points if at is None or (p.strength is not None and same(p.strength, at))]
    return [Gap(curve.name, p.strength, p.reason or ABSENT) for p in asked if p.value is None]

"""What both figure makers read from curves: means over replicates, ranges, gaps and colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rayci.analysis.scan.curve import Curve
from rayci.kinds import Direction, Scale

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe–Ito, told apart with every common colour blindness; the first two are for the two orders of a pair."""
GREY = "#8a8f98"

_BETTER = {
    Direction.HIGHER: "higher is better",
    Direction.LOWER: "lower is better",
    Direction.ZERO: "closer to zero is better",
}


@dataclass(frozen=True)
class Mark:
    """One γ of one order over all replicates."""

    strength: float | None
    values: tuple[float, ...]
    """Finite values, one per replicate that has one."""
    problems: tuple[str, ...]
    """Why other replicates have none; `infinite` counts as a problem of drawing, not of measuring."""

    @property
    def mean(self) -> float | None:
        """Mean of the finite values."""
        return math.fsum(self.values) / len(self.values) if self.values else None


@dataclass(frozen=True)
class Line:
    """One order of application as it is drawn."""

    name: str
    marks: tuple[Mark, ...]


def lines(curves: Iterable[Curve]) -> list[Line]:
    """One line per order, replicates gathered at each γ."""
    by_order: dict[str, list[Curve]] = {}
    for curve in curves:
        by_order.setdefault(curve.name, []).append(curve)
    return [Line(name, tuple(_marks(members))) for name, members in by_order.items()]


def alone(singles: Iterable[Curve], pair: Sequence[Curve]) -> list[Line]:
    """The pair's methods on their own, for reference; a method without γ has one mark."""
    wanted = {variant for curve in pair for variant in curve.pair}
    return lines(curve for curve in singles if curve.pair[0] in wanted)


def is_logarithmic(held: Iterable[Line], scale: Scale) -> bool:
    """Whether values span so much that only a logarithmic axis shows them: unbounded, positive, 30-fold."""
    values = [value for line in held for mark in line.marks for value in mark.values]
    unbounded = scale.high is None and scale.direction is Direction.LOWER
    return unbounded and bool(values) and min(values) > 0 and max(values) / min(values) > 30


def axis_title(curve: Curve) -> str:
    """`sparsity of wanda`, or nothing where no γ is swept."""
    return f"{curve.axis.strength_name} of {curve.axis.label}" if curve.axis else ""


def better(scale: Scale) -> str:
    """Which way is better, in two words."""
    return _BETTER.get(scale.direction, "")


def _marks(members: Sequence[Curve]) -> list[Mark]:
    return [_mark(members, index) for index in range(len(members[0].points))]


def _mark(members: Sequence[Curve], index: int) -> Mark:
    points = [curve.points[index] for curve in members]
    finite = tuple(p.value for p in points if p.value is not None and math.isfinite(p.value))
    problems = [p.reason or "no value" for p in points if p.value is None]
    problems += ["infinite" for p in points if p.value is not None and math.isinf(p.value)]
    return Mark(points[0].strength, finite, tuple(dict.fromkeys(problems)))

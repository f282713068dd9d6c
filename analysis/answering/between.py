"""Strengths between those that ran at which, by straight lines, the needs are met at a better objective."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayci.analysis.answering.chains import Chain
from rayci.analysis.answering.needs import Need, Objective, Quantity
from rayci.analysis.statistics.piecewise import Array, crossings

_STRENGTH = re.compile(r"@[^\s{}@>]+")
_DECIMALS = 3
_BETTER = 1e-9
"""Below this a difference of the objective is rounding."""


@dataclass(frozen=True)
class Between:
    """A chain at a strength that nobody measured."""

    composition: str
    values: Mapping[str, float]
    """Quantity -> its value on the straight line between the two neighbours."""


def strengths_between(
    measured: Sequence[Chain], needs: Sequence[Need], objective: Objective, least: float
) -> list[Between]:
    """The best strength of every order and segment that keeps all needs in the mean at a cost below `least`.

    Curves are straight lines between the strengths of one step, everything else held; where all its strengths are whole
    numbers only whole ones are told (there are no 3.4 bits). Best first.
    """
    quantities = list(dict.fromkeys([*(need.quantity for need in needs), objective.quantity]))
    better: list[tuple[float, Between]] = []
    for step, curve in _curves(measured):
        whole = all(gamma.is_integer() for gamma, _ in curve)
        for (low, chain), (high, then) in itertools.pairwise(curve):
            ends = [_values(chain, quantities), _values(then, quantities)]
            if not np.isfinite(ends).all():
                continue
            segment = _Segment(low, high, ends[0], ends[1], quantities, needs, objective)
            gamma, cost = segment.best(whole=whole)
            if cost < least - _BETTER:
                better.append((cost, Between(_renamed(chain, step, gamma), segment.at(segment.share(gamma)))))
    return [between for _, between in sorted(better, key=lambda pair: (pair[0], pair[1].composition))]


@dataclass(frozen=True)
class _Segment:
    """A straight line between two strengths; `share` is 0 at the lower and 1 at the higher."""

    low: float
    high: float
    first: Array
    """`[quantities]`, signed."""
    last: Array
    quantities: Sequence[Quantity]
    needs: Sequence[Need]
    objective: Objective

    def share(self, gamma: float) -> float:
        return (gamma - self.low) / (self.high - self.low)

    def at(self, share: float) -> dict[str, float]:
        line = self.first * (1 - share) + self.last * share
        return {str(q): float(abs(value) if q.size else value) for q, value in zip(self.quantities, line, strict=True)}

    def best(self, *, whole: bool) -> tuple[float, float]:
        """The strength inside of the segment that keeps the needs at the lowest cost, and that cost, ∞ for none."""
        zeros = crossings(self.first, self.last).tolist()
        turns = [zero for q, zero in zip(self.quantities, zeros, strict=True) if q.size]
        places = sorted({0.0, 1.0, *turns})
        options = [self._of(begin, end, whole) for begin, end in itertools.pairwise(places)]
        return min(options, key=lambda option: option[1])

    def _of(self, begin: float, end: float, whole: bool) -> tuple[float, float]:
        """The same between two shares, where everything is a straight line."""
        left, right = self.at(begin), self.at(end)
        low, high = 0.0, 1.0
        for need in self.needs:
            name = str(need.quantity)
            low, high = _kept(need.margin(left[name]), need.margin(right[name]), low, high)
        costs = [self.objective.cost(ends[str(self.objective.quantity)]) for ends in (left, right)]
        falls = costs[1] < costs[0]
        grid = 1.0 if whole else 10.0**-_DECIMALS
        ends = [self.low + (begin + share * (end - begin)) * (self.high - self.low) for share in (low, high)]
        gamma = math.floor(ends[1] / grid + _BETTER) * grid if falls else math.ceil(ends[0] / grid - _BETTER) * grid
        inside = low <= high and self.low < gamma < self.high and ends[0] - _BETTER <= gamma <= ends[1] + _BETTER
        return gamma, self._cost(gamma) if inside else math.inf

    def _cost(self, gamma: float) -> float:
        return self.objective.cost(self.at(self.share(gamma))[str(self.objective.quantity)])


def _kept(left: float, right: float, low: float, high: float) -> tuple[float, float]:
    """Of shares from `low` to `high` those at which a line from `left` to `right` is ≥ 0; the reverse where none is."""
    if left >= 0 and right >= 0:
        return low, high
    if left < 0 and right < 0:
        return 1.0, 0.0
    crossing = left / (left - right)
    return (max(low, crossing), high) if left < 0 else (low, min(high, crossing))


def _curves(measured: Sequence[Chain]) -> Iterator[tuple[int, list[tuple[float, Chain]]]]:
    """The place of a step in its chains, and the chains that differ in its strength alone, by rising strength."""
    curves: dict[tuple[int, object], list[tuple[float, Chain]]] = {}
    for chain in measured:
        for place, step in enumerate(chain.steps):
            if step.strength is not None:
                others = (*chain.steps[:place], step.variant, *chain.steps[place + 1 :])
                curves.setdefault((place, others), []).append((step.strength, chain))
    for (place, _), curve in curves.items():
        yield place, sorted(curve, key=lambda point: point[0])


def _values(chain: Chain, quantities: Sequence[Quantity]) -> Array:
    endings = [chain.endings.get(quantity.criterion) for quantity in quantities]
    return np.array([np.nan if ending is None or ending.mean is None else ending.mean for ending in endings])


def _renamed(chain: Chain, place: int, gamma: float) -> str:
    parts = chain.composition.split(" > ")
    if len(parts) != len(chain.steps):  # a setting holds what separates steps
        parts = [f"{step.variant.method}@{step.strength:g}" for step in chain.steps]
    parts[place] = _STRENGTH.sub(f"@{gamma:g}", parts[place], count=1)
    return " > ".join(parts)

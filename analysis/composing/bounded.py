"""Limits within which γ counts: a criterion must stay near the untouched model's.

Source: the bounded form of arXiv 2407.06483's area metrics. Composability at strengths that ruin the model anyway says
little; with `{"mmlu": 0.05}` only γ count at which every order keeps MMLU, on the mean over units, within .05 of the
untouched model's. The range ends where the straight line crosses the bound, not at the next point of the grid.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayci.analysis.scan.cells import FinalCells
from rayci.analysis.scan.family import Family
from rayci.analysis.scan.samples import Samples, samples
from rayci.analysis.statistics.piecewise import Array
from rayci.errors import RequestError
from rayci.kinds import Direction, Scale


@dataclass(frozen=True)
class Leeway:
    """How far each bounding curve is from its bound at each γ: negative where it is beyond."""

    margins: Array
    """`[criteria × orders, points]`; −∞ where it cannot be known."""
    problems: Mapping[float | None, str]
    """γ -> why it does not count."""

    @staticmethod
    def of(leeways: Sequence[Leeway], points: Sequence[int]) -> Leeway:
        """Several at once, at some points of the grid; the first says why."""
        margins = np.concatenate([leeway.margins[:, list(points)] for leeway in leeways])
        return Leeway(margins, dict(ChainMap(*(dict(leeway.problems) for leeway in leeways))))


@dataclass(frozen=True)
class Bounds:
    """How far criteria may decay, in their own units, and from what."""

    decays: Mapping[str, float]
    scales: Mapping[str, Scale]
    bases: Mapping[str, float]
    """The untouched model's values, means over edit batches where they depend on them."""

    def leeway(self, family: Family) -> Leeway:
        """What is left of every decay along the family's grid."""
        margins: list[Array] = []
        problems: dict[float | None, str] = {}
        for criterion, decay in self.decays.items():
            base, scale = self.bases[criterion], self.scales[criterion]
            measured = samples(family, criterion)
            mean = np.full((len(family.orders), len(family.grid)), np.nan)
            if len(measured.values):
                mean = measured.values.mean(axis=0)
            left = decay - _worse_by(mean, base, scale)
            margins.append(np.where(np.isnan(left), -np.inf, left))
            for gamma, problem in _problems(criterion, decay, base, measured, mean, left):
                problems.setdefault(gamma, problem)
        return Leeway(np.concatenate(margins), problems)


def bounds(decays: Mapping[str, float], scales: Mapping[str, Scale], cells: FinalCells) -> Bounds:
    """Checked bounds; RequestError for a criterion that the table cannot judge by, or a negative decay."""
    bases = {}
    for name, decay in decays.items():
        if name not in scales:
            raise RequestError(f"no criterion {name!r} to bound γ by", allowed=", ".join(scales))
        if not decay >= 0:
            raise RequestError(f"decay of {name} = {decay!r}", allowed="a number from 0 on, in the criterion's unit")
        held = cells.untouched(name)
        if not len(held):
            raise RequestError(
                f"{name} cannot bound γ: the untouched model has no value",
                hint="measure it on stage 0, which every sweep contains",
            )
        bases[name] = float(np.mean(held))
    return Bounds(decays, scales, bases)


def _problems(
    criterion: str, decay: float, base: float, measured: Samples, mean: Array, left: Array
) -> Iterator[tuple[float | None, str]]:
    """(γ, why it does not count), from the `mean` and what is `left` of the decay `[orders, points]`."""
    if not len(measured.values):
        yield from ((gamma, f"{criterion} was not measured, so the bound cannot be checked") for gamma in measured.grid)
        return
    for point, place in np.argwhere(~(left.T >= 0)):
        name = " > ".join(variant.label for variant in measured.orders[place])
        value = mean[place, point]
        decayed = f"decays from {base:.3g} to {value:.3g}, by more than {decay:g}"
        unknown = "has no value, so the bound cannot be checked"
        yield measured.grid[point], f"{criterion} after {name} {unknown if np.isnan(value) else decayed}"


def _worse_by(value: Array, base: float, scale: Scale) -> Array:
    if scale.direction is Direction.ZERO:
        return np.abs(value) - abs(base)
    return base - value if scale.direction is Direction.HIGHER else value - base

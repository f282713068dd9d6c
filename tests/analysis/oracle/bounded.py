"""Limits within which γ counts: a criterion must stay near the untouched model's.

Source: the bounded form of arXiv 2407.06483's area metrics. Composability at strengths that ruin the model anyway says
little; with `{"mmlu": 0.05}` only γ count at which every order keeps MMLU, on the mean over units, within .05 of the
untouched model's. The range ends where the straight line crosses the bound, not at the next point of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayci.errors import RequestError
from rayci.kinds import Direction, Scale
from tests.analysis.oracle.cells import Cell
from tests.analysis.oracle.curve import Family
from tests.analysis.oracle.piecewise import Array, at, roots
from tests.analysis.oracle.samples import Samples, samples
from tests.analysis.oracle.scoring import Reach


@dataclass(frozen=True)
class Bounds:
    """How far criteria may decay, in their own units, and the untouched model's values."""

    decays: Mapping[str, float]
    scales: Mapping[str, Scale]
    untouched: Sequence[Cell]

    def leeway(self, family: Family) -> Leeway:
        """What is left of every decay along the family's grid."""
        margins: list[Array] = []
        problems: dict[float | None, str] = {}
        for criterion, decay in self.decays.items():
            base, scale = self._base(criterion), self.scales[criterion]
            measured = samples(family, criterion)
            for gamma, problem in _problems(criterion, decay, base, scale, measured, family.grid):
                problems.setdefault(gamma, problem)
            mean = measured.values.mean(axis=0) if len(measured.values) else np.full((1, len(family.grid)), np.nan)
            left = decay - _worse_by(mean, base, scale)
            margins += list(np.where(np.isnan(left), -np.inf, left))
        return Leeway(np.stack(margins), problems)

    def _base(self, criterion: str) -> float:
        """The untouched model's value, a mean over edit batches where it depends on them."""
        held = [c.value for c in self.untouched if c.criterion == criterion and c.value is not None]
        if held:
            return float(np.mean(held))
        raise RequestError(
            f"{criterion} cannot bound γ: the untouched model has no value",
            hint="measure it on stage 0, which every sweep contains",
        )


@dataclass(frozen=True)
class Leeway:
    """How far each bounding curve is from its bound at each γ: negative where it is beyond."""

    margins: Array
    """`[curves, points]`."""
    problems: Mapping[float | None, str]
    """γ -> why it does not count."""

    def reach(self, x: Array, points: Sequence[int], *, rescale: bool) -> Reach | None:
        """Where along `x`, the places of these points of the grid, everything is within its bound; None: nowhere."""
        margins = self.margins[:, list(points)]
        inside = (margins >= 0).all(axis=0)
        if not inside.any():
            return None
        ends = np.unique(np.concatenate([x, *(roots(x, margin) for margin in margins)]))
        with np.errstate(invalid="ignore"):
            kept = np.asarray((at(x, margins, (ends[1:] + ends[:-1]) / 2) >= 0).all(axis=0))
        if kept.any():
            return Reach(x, ends, kept, rescale)
        return Reach(x[inside][:1], rescale=rescale)


def bounds(decays: Mapping[str, float], scales: Mapping[str, Scale], cells: Sequence[Cell]) -> Bounds:
    """Checked bounds; RequestError for a criterion that the table cannot judge by, or a negative decay."""
    for name, decay in decays.items():
        if name not in scales:
            raise RequestError(f"no criterion {name!r} to bound γ by", allowed=", ".join(scales))
        if not decay >= 0:
            raise RequestError(f"decay of {name} = {decay!r}", allowed="a number from 0 on, in the criterion's unit")
    return Bounds(decays, scales, [cell for cell in cells if not cell.steps])


def _problems(
    criterion: str, decay: float, base: float, scale: Scale, measured: Samples, grid: Sequence[float | None]
) -> list[tuple[float | None, str]]:
    problems: list[tuple[float | None, str]] = []
    for point, gamma in enumerate(grid):
        if not len(measured.values):
            problems.append((gamma, f"{criterion} was not measured, so the bound cannot be checked"))
            continue
        for order, value in zip(measured.orders, measured.values[:, :, point].mean(axis=0), strict=True):
            name = " > ".join(variant.label for variant in order)
            if np.isnan(value):
                problems.append((gamma, f"{criterion} after {name} has no value, so the bound cannot be checked"))
            elif _worse_by(value, base, scale) > decay:
                decayed = f"{criterion} after {name} decays from {base:.3g} to {value:.3g}, by more than {decay:g}"
                problems.append((gamma, decayed))
    return problems


def _worse_by(value: Array, base: float, scale: Scale) -> Array:
    if scale.direction is Direction.ZERO:
        return np.abs(value) - abs(base)
    return base - value if scale.direction is Direction.HIGHER else value - base

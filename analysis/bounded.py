"""Limits within which γ counts: a criterion must stay near the untouched model's.

Source: the bounded form of arXiv 2407.06483's area metrics. Composability at strengths that
ruin the model anyway says little; with `{"mmlu": 0.05}` only γ count at which every order
keeps MMLU within .05 of the untouched model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rayci.analysis.cells import Cell
from rayci.analysis.curve import Curve, Family, family_curves
from rayci.errors import RequestError
from rayci.kinds import Direction, Scale

Unit = tuple[int | None, int | None]
"""Replicate and seed."""


@dataclass(frozen=True)
class Bounds:
    """How far criteria may decay, in their own units, and the untouched model's values."""

    decays: Mapping[str, float]
    scales: Mapping[str, Scale]
    untouched: Sequence[Cell]

    def refused(self, family: Family, unit: Unit) -> dict[float | None, str]:
        """γ -> why it does not count, for one replicate of one set of methods."""
        problems: dict[float | None, str] = {}
        for criterion, decay in self.decays.items():
            base = self._base(criterion, unit)
            members = [curve for curve in family_curves(family, criterion) if joins(curve, unit)]
            for gamma in family.grid:
                problem = _problem(criterion, decay, self.scales[criterion], base, members, gamma)
                if problem:
                    problems.setdefault(gamma, problem)
        return problems

    def _base(self, criterion: str, unit: Unit) -> float:
        """The untouched model's value; for a replicate without its own, the one that stands for all."""
        held = [cell for cell in self.untouched if cell.criterion == criterion and cell.value is not None]
        for cell in held:
            if cell.replicate in (None, unit[0]) and cell.seed in (None, unit[1]) and cell.value is not None:
                return cell.value
        raise RequestError(
            f"{criterion} cannot bound γ: the untouched model has no value",
            hint="measure it on stage 0, which every sweep contains",
        )


def joins(curve: Curve, unit: Unit) -> bool:
    """Whether a curve belongs to a replicate and seed; null on either side stands for all."""
    return all(
        own == other or own is None or other is None
        for own, other in zip((curve.replicate, curve.seed), unit, strict=True)
    )


def bounds(decays: Mapping[str, float], scales: Mapping[str, Scale], cells: Sequence[Cell]) -> Bounds:
    """Checked bounds; RequestError for a criterion that the table cannot judge by, or a negative decay."""
    for name, decay in decays.items():
        if name not in scales:
            raise RequestError(f"no criterion {name!r} to bound γ by", allowed=", ".join(scales))
        if not decay >= 0:
            raise RequestError(f"decay of {name} = {decay!r}", allowed="a number from 0 on, in the criterion's unit")
    return Bounds(decays, scales, [cell for cell in cells if not cell.steps])


def _problem(
    criterion: str, decay: float, scale: Scale, base: float, members: Sequence[Curve], gamma: float | None
) -> str | None:
    for curve in members:
        value = curve.ok.get(gamma)
        if value is None:
            return f"{criterion} after {curve.name} has no value, so the bound cannot be checked"
        if _worse_by(value, base, scale) > decay:
            return f"{criterion} after {curve.name} decays from {base:.3g} to {value:.3g}, by more than {decay:g}"
    return None if members else f"{criterion} was not measured, so the bound cannot be checked"


def _worse_by(value: float, base: float, scale: Scale) -> float:
    if scale.direction is Direction.ZERO:
        return abs(value) - abs(base)
    return base - value if scale.direction is Direction.HIGHER else value - base

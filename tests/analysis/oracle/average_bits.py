"""Average bits per weight as an axis in the place of γ."""

from __future__ import annotations

from collections.abc import Mapping

from tests.analysis.oracle.curve import Family

Places = Mapping[float | None, float | str]
"""γ -> its place on an axis, or the reason why it has none."""


def bits_of(family: Family) -> Places:
    """γ -> average bits: the nominal ones where measured, since the measured ones depend on the order."""
    name = next((name for name in ("avg_bits_nominal", "avg_bits") if name in family.cells), None)
    held: dict[float | None, set[float]] = {gamma: set() for gamma in family.grid}
    for _, gamma, cell in family.cells.get(name or "", ()):
        if cell.value is not None:
            held[gamma].add(cell.value)
    return {gamma: _one(values) for gamma, values in held.items()}


def _one(values: set[float]) -> float | str:
    if len(values) == 1:
        return next(iter(values))
    if not values:
        return "no average bits"
    shown = ", ".join(f"{value:g}" for value in sorted(values))
    return f"average bits differ between orders or replicates ({shown})"

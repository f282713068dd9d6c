"""Average bits per weight as an axis in the place of γ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rayci.analysis.scan.family import Family
from rayci.analysis.statistics.piecewise import Array

UNKNOWN = "no average bits"

Places = Mapping[float | None, float | str]
"""γ -> its place on an axis, or the reason why it has none."""


def bits_of(family: Family) -> Places:
    """γ -> average bits: the nominal ones where measured, since the measured ones depend on the order."""
    runs = next((family.runs[name] for name in ("avg_bits_nominal", "avg_bits") if name in family.runs), None)
    if runs is None:
        return dict.fromkeys(family.grid, UNKNOWN)
    return {gamma: _one(runs.values[..., point]) for point, gamma in enumerate(family.grid)}


def _one(measured: Array) -> float | str:
    values = np.unique(measured[~np.isnan(measured)]).tolist()
    if len(values) == 1:
        return float(values[0])
    if not values:
        return UNKNOWN
    shown = ", ".join(f"{value:g}" for value in values)
    return f"average bits differ between orders or replicates ({shown})"

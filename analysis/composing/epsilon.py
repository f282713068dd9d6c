"""ε-composability: at what share of γ the orders agree to within ε.

Two interventions are ε-composable on a criterion where |a − b| ≤ ε; constrained, where the
other intervention's own criterion stays within its ε as well: name both criteria.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rayci.analysis.scan.cells import chosen_criteria, final_cells
from rayci.analysis.scan.family import Family, families
from rayci.analysis.scan.samples import Samples, samples
from rayci.analysis.statistics.intervals import summarise
from rayci.analysis.statistics.piecewise import Array, share_above
from rayci.errors import RequestError
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("method_i", "method_j", "share", "low", "high", "n_points", "points_asked", "n_replicates")


def composable_share(table: ResultTable, epsilons: Mapping[str, float], along: str | None = None) -> pd.DataFrame:
    """For every pair, the share of γ at which every criterion named differs by at most its ε.

    `epsilons`: criterion -> ε in the criterion's unit. A γ counts where both orders have a value for every criterion
    in every unit (`n_points` of `points_asked`); the share, exact for straight lines, is taken for each unit, then
    averaged, with its 95 % interval. Null where no γ counts. Raises RequestError for unknown criteria and negative ε.
    """
    import pandas as pd

    if not epsilons or any(not epsilon >= 0 for epsilon in epsilons.values()):
        raise RequestError(f"ε = {dict(epsilons)!r}", allowed="criterion: ε from 0 on, in the criterion's unit")
    chosen_criteria(table, list(epsilons))
    pairs = [f for f in families(final_cells(table), along) if len(f.pair) == 2 and len(set(f.pair)) == 2]
    frame = pd.DataFrame([_row(family, epsilons) for family in pairs], columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(("share", "low", "high"), "Float64"))


def _row(family: Family, epsilons: Mapping[str, float]) -> dict[str, Any]:
    held = {criterion: samples(family, criterion) for criterion in epsilons}
    units = max(len(measured.values) for measured in held.values())
    counted = np.logical_and.reduce([measured.present & bool(len(measured.values)) for measured in held.values()])
    points = np.flatnonzero(counted)
    x = np.array([family.grid[point] or 0.0 for point in points])
    shares: list[float] = []
    if len(points):
        leeway = [_leeway(held[criterion], epsilon, points, units) for criterion, epsilon in epsilons.items()]
        shares = share_above(x, np.concatenate(leeway, axis=1)).tolist()
    summary = summarise(shares)
    row = {"method_i": family.pair[0].label, "method_j": family.pair[1].label, "points_asked": len(family.grid)}
    counts = {"n_points": len(points), "n_replicates": units if len(points) else 0}
    return {**row, "share": summary.mean, "low": summary.low, "high": summary.high, **counts}


def _leeway(measured: Samples, epsilon: float, points: NDArray[np.intp], units: int) -> Array:
    """What is left of ε `[units, lines, points]`: ε − d and ε + d of every two orders, lines where |d| is not."""
    values = measured.values[..., points]
    if len(values) != units:  # a criterion without units of its own stands for all
        values = np.repeat(values.mean(axis=0, keepdims=True), units, axis=0)
    pairs = itertools.permutations(range(len(measured.orders)), 2)
    return np.stack([epsilon - (values[:, first] - values[:, second]) for first, second in pairs], axis=1)

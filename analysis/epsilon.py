"""ε-composability: at what share of γ the orders agree to within ε.

Two interventions are ε-composable on a criterion where |a − b| ≤ ε; constrained, where the
other intervention's own criterion stays within its ε as well: name both criteria.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rayci.analysis.bounded import joins
from rayci.analysis.cells import chosen_criteria, final_cells
from rayci.analysis.composability import order_sensitivity
from rayci.analysis.curve import Curve, Family, families, family_curves, orders_of
from rayci.analysis.intervals import summarise
from rayci.errors import RequestError
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("method_i", "method_j", "share", "low", "high", "n_points", "points_asked", "n_replicates")


def composable_share(table: ResultTable, epsilons: Mapping[str, float], along: str | None = None) -> pd.DataFrame:
    """For every pair, the share of γ at which every criterion named differs by at most its ε.

    `epsilons`: criterion -> ε in the criterion's unit. A γ counts where both orders have a
    value for every criterion (`n_points` of `points_asked`, fewest over replicates); the share is
    per replicate, then averaged, with its 95 % interval. Null where no γ counts. Raises
    RequestError for unknown criteria and negative ε.
    """
    import pandas as pd

    if not epsilons or any(not epsilon >= 0 for epsilon in epsilons.values()):
        raise RequestError(f"ε = {dict(epsilons)!r}", allowed="criterion: ε from 0 on, in the criterion's unit")
    chosen_criteria(table, list(epsilons))
    pairs = [f for f in families(final_cells(table), along) if len(f.pair) == 2 and len(set(f.pair)) == 2]
    frame = pd.DataFrame([_row(family, epsilons) for family in pairs], columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(("share", "low", "high"), "Float64"))


def _row(family: Family, epsilons: Mapping[str, float]) -> dict[str, Any]:
    held = {criterion: family_curves(family, criterion) for criterion in epsilons}
    units = dict.fromkeys((c.replicate, c.seed) for members in held.values() for c in members)
    # A criterion without replicates joins those of the others and adds none of its own.
    own = [unit for unit in units if unit != (None, None)] or list(units)
    verdicts = [
        _verdicts(family, {k: [c for c in v if joins(c, unit)] for k, v in held.items()}, epsilons) for unit in own
    ]
    used = [verdict for verdict in verdicts if verdict]
    summary = summarise([sum(verdict) / len(verdict) for verdict in used])
    names = {"method_i": family.pair[0].label, "method_j": family.pair[1].label}
    points = {"n_points": min(map(len, used), default=0), "points_asked": len(family.grid), "n_replicates": len(used)}
    return {**names, "share": summary.mean, "low": summary.low, "high": summary.high, **points}


def _verdicts(family: Family, held: Mapping[str, list[Curve]], epsilons: Mapping[str, float]) -> list[bool]:
    """For each γ that counts, whether all criteria agree to within their ε."""
    within = []
    for gamma in family.grid:
        gaps = {criterion: _gap(family, members, gamma) for criterion, members in held.items()}
        known = {criterion: gap for criterion, gap in gaps.items() if gap is not None}
        if len(known) == len(gaps):
            within.append(all(gap <= epsilons[criterion] for criterion, gap in known.items()))
    return within


def _gap(family: Family, members: list[Curve], gamma: float | None) -> float | None:
    by_order = {curve.order: curve.ok.get(gamma) for curve in members}
    values = [by_order.get(order) for order in orders_of(family.pair)]
    known = [value for value in values if value is not None]
    return order_sensitivity(known) if len(known) == len(values) else None

"""Wins as a table for people: categories and their partners, below each a line for every method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rayci.analysis.text.tables import Pivot, records_of

if TYPE_CHECKING:
    import pandas as pd

_METRICS = ("order_free_error", "order_sensitivity")
_KINDS = ("wins", "robust_wins", "significant_wins")
_LEGEND = (
    "Cells: wins | robust wins | significant wins, of so many columns (partners). Win: strictly lowest after rounding;"
    " robust: still lowest when every value moves by .005; significant: by paired intervals over edit batches or seeds."
)


def win_pivot(counted: pd.DataFrame) -> Pivot:
    """What `rayci.analysis.wins` counted; undecided columns are told where there are any."""
    records = records_of(counted)
    contests: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for record in records:
        contest = f"{record['category']}, partners {record['partners']}: {record['criterion'].replace('_', ' ')}"
        contests.setdefault(contest, {}).setdefault(record["method"], {})[record["metric"]] = record
    rows: list[tuple[str, ...]] = []
    for contest, methods in contests.items():
        rows.append((contest, "", "", ""))
        rows += [(f"  {method}", *_cells(by_metric)) for method, by_metric in methods.items()]
    reasons = dict.fromkeys(record["reason"] for record in records if record["reason"])
    header = ("methods", "order-free error", "order sensitivity", "columns")
    return Pivot(header, tuple(rows), (_LEGEND, *(f"significant wins –: {reason}" for reason in reasons)))


def _cells(by_metric: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    cells = [" | ".join(_count(by_metric[metric][kind]) for kind in _KINDS) for metric in _METRICS]
    columns = dict.fromkeys(f"{record['columns']}{_undecided(record)}" for record in by_metric.values())
    return (*cells, ", ".join(columns))


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)


def _undecided(record: Mapping[str, Any]) -> str:
    return f" + {record['undecided']} undecided" if record["undecided"] else ""

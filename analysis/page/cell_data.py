"""The composability table as plain data: the cells of the report's table, with their shade."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rayci.analysis.answering.findings import concerns
from rayci.analysis.composing.metric_table import METHODS
from rayci.analysis.page.compact import Texts, number, numbers
from rayci.analysis.scan.curve import ABSENT
from rayci.kinds import Scale

_METRICS = {"error": "order_free_error", "sensitivity": "order_sensitivity"}
_ENDS = ("", "_low", "_high")


def cell_data(
    records: Sequence[Mapping[str, Any]], criteria: Sequence[str], scales: Mapping[str, Scale], reasons: Texts
) -> dict[str, dict[int, dict[str, Any]]]:
    """Name of the methods -> place of the criterion -> cell; what a cell does not know is left out.

    `error`, `sensitivity`, `gap`: [value, low, high]; `shade`: from 0 to 1 for the first two; `points`: [counted,
    asked]; `reason`: place among the reasons; `aside`: the criterion does not concern the methods.
    """
    columns = {metric: _columns(records, metric) for metric in _METRICS.values()}
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    for record in records:
        shades = [
            _shade(record[metric], columns[metric].get(record["criterion"]), scales[record["criterion"]])
            for metric in _METRICS.values()
        ]
        place = criteria.index(record["criterion"])
        cells.setdefault(methods_of(record), {})[place] = _cell(record, shades, reasons)
    return cells


def methods_of(record: Mapping[str, Any]) -> str:
    """`ft × wanda`, without a γ."""
    return " × ".join(record[name] for name in METHODS if record.get(name))


def reason_of(record: Mapping[str, Any]) -> str | None:
    """What a row has to say, for a page that shows which orders ran: those that did not are counted."""
    if record["reason"] == f"{record['criterion']} was not measured":
        return "not measured"
    parts = (record["reason"] or "").split("; ")
    never = [part for part in parts if part.endswith(f": {ABSENT}") and " at " not in part]
    rest = [part for part in parts if part and part not in never]
    return "; ".join([*rest, *(never if len(never) < 2 else [f"{len(never)} orders were not run"])]) or None


def _cell(record: Mapping[str, Any], shades: list[float], reasons: Texts) -> dict[str, Any]:
    cell: dict[str, Any] = {
        short: numbers(record[f"{metric}{end}"] for end in _ENDS)
        for short, metric in (*_METRICS.items(), ("gap", "gap"))
        if record.get(metric) is not None
    }
    cell |= {"shade": numbers(shades) if concerns(record) else [0, 0], "aside": not concerns(record) or None}
    cell |= {"points": [record["n_points"], record["points_asked"]], "n": record["n_replicates"]}
    reason = reason_of(record)
    cell |= {"reason": reasons.place(reason) if reason else None}
    cell |= {"p": number(record.get("gap_p_adjusted")), "at": number(record["strength"])}
    cell |= {name: record.get(name) for name in ("best_order", "verdict", "interval_of", "unit")}
    return {name: value for name, value in cell.items() if value is not None}


def _columns(records: Iterable[Mapping[str, Any]], metric: str) -> dict[str, tuple[float, float]]:
    """Criterion -> ends of a metric's finite values, as logarithms."""
    logs: dict[str, list[float]] = {}
    for record in records:
        value = record[metric]
        if value is not None and math.isfinite(value):
            logs.setdefault(record["criterion"], []).append(math.log1p(abs(value)))
    return {criterion: (min(held), max(held)) for criterion, held in logs.items()}


def _shade(value: float | None, ends: tuple[float, float] | None, scale: Scale) -> float:
    """Share of the range; for a criterion without one, place between the column's ends on a log scale."""
    if value is None:
        return 0.0
    if not math.isfinite(value):
        return 1.0
    if scale.width is not None:
        return min(1.0, max(0.0, value / scale.width))
    low, high = ends or (0.0, 0.0)
    return 0.0 if low == high else (math.log1p(abs(value)) - low) / (high - low)

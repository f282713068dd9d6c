"""The heat-coloured composability table of the report, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rayci.analysis.answering.findings import concerns
from rayci.analysis.text import tables
from rayci.kinds import Scale

METRICS = ("order_free_error", "order_sensitivity")


def heat_rows(
    records: Sequence[Mapping[str, Any]], scales: Mapping[str, Scale]
) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """Rows of the composability table: pair -> criterion -> both numbers with their shade from 0 to 1.

    A cell whose criterion does not concern its methods is set `aside`: shown, not shaded.
    """
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        scale = scales[record["criterion"]]
        cell = {
            "halves": [_half(record, metric, records, scale) for metric in METRICS],
            "points": f"{record['n_points']}/{record['points_asked']}",
            "short": record["n_points"] < record["points_asked"],
            "aside": not concerns(record),
            "hint": _hint(record),
        }
        rows.setdefault(tables.pair_name(record), {})[record["criterion"]] = cell
    return list(rows.items())


def _half(record: Mapping[str, Any], metric: str, records: Sequence[Mapping[str, Any]], scale: Scale) -> dict[str, Any]:
    value, low, high = (record[f"{metric}{end}"] for end in ("", "_low", "_high"))
    interval = "" if low is None else f"{tables.short(low)} … {tables.short(high)}"
    column = [r[metric] for r in records if r["criterion"] == record["criterion"] and r[metric] is not None]
    shade = _shade(value, column, scale) if concerns(record) else 0.0
    return {"text": tables.short(value), "interval": interval, "shade": shade}


def _shade(value: float | None, column: Sequence[float], scale: Scale) -> float:
    """Share of the range; for a criterion without one, place between the column's ends on a log scale."""
    if value is None:
        return 0.0
    if scale.low is not None and scale.high is not None:
        return min(1.0, max(0.0, value / (scale.high - scale.low)))
    finite = [math.log1p(abs(number)) for number in column if math.isfinite(number)]
    if not math.isfinite(value) or not finite or max(finite) == min(finite):
        return 0.0 if math.isfinite(value) else 1.0
    return (math.log1p(abs(value)) - min(finite)) / (max(finite) - min(finite))


def _hint(record: Mapping[str, Any]) -> str:
    lines = [f"{record['n_points']} of {record['points_asked']} points, {record['n_replicates']} replicates"]
    first, second = record["method_i"], record["method_j"]
    for label, name in ((f"{first} > {second}", "value_ij"), (f"{second} > {first}", "value_ji")):
        if record.get(name) is not None:
            lines.append(f"{label}: {tables.short(record[name])}")
    lines += [f"better order: {record['best_order']}"] if record["best_order"] else []
    lines += [record["reason"]] if record["reason"] else []
    return "\n".join(lines)

"""Plain-language findings of a composability table: what composes, where the order matters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayci.analysis.answering import aims
from rayci.analysis.statistics.verdicts import DOES_NOT_MATTER, MATTERS, NOT_SHOWN
from rayci.analysis.text.tables import pair_name, short
from rayci.kinds import Scale


def concerns(record: Mapping[str, Any]) -> bool:
    """Whether the criterion of a row of the composability table says something about its methods."""
    return aims.concerns(record["criterion"], [str(value) for key, value in record.items() if key.startswith("kind_")])


@dataclass(frozen=True)
class Finding:
    """What one criterion says about all pairs; texts are empty where nothing can be said."""

    criterion: str
    best: str
    worst: str
    most_sensitive: str
    least_sensitive: str


def per_criterion(records: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Extremes of every criterion over the rows of a composability table that have a value."""
    sentences = []
    for criterion in dict.fromkeys(record["criterion"] for record in records):
        rows = [record for record in records if record["criterion"] == criterion and concerns(record)]
        errors = _ranked(rows, "order_free_error")
        spreads = _ranked(rows, "order_sensitivity")
        sentences.append(
            Finding(
                criterion,
                _named(errors[:1], "order_free_error"),
                _named(errors[-1:], "order_free_error"),
                _named(spreads[-1:], "order_sensitivity", order=True),
                _named(spreads[:1], "order_sensitivity"),
            )
        )
    return sentences


def headlines(records: Sequence[Mapping[str, Any]], scales: Mapping[str, Scale]) -> list[str]:
    """One to three sentences for a reader in a hurry, over criteria with a bounded range.

    Criteria are compared by the share of their range, which is the only unit they have in common.
    """
    bounded = [record for record in records if _range(record, scales) and concerns(record)]
    return [*_orders(bounded, scales), *_extremes(bounded, scales)]


def _orders(records: Sequence[Mapping[str, Any]], scales: Mapping[str, Scale]) -> list[str]:
    """Where the order matters most, as far as that is shown, and how many cells say what."""
    sensitive = [record for record in records if record["order_sensitivity"] is not None]
    if not sensitive:
        return []
    verdicts = Counter(record.get("verdict") for record in sensitive)
    shown = [record for record in sensitive if record.get("verdict") == MATTERS] or sensitive
    top = max(shown, key=lambda record: record["order_sensitivity"] / _range(record, scales))
    better = f"; {top['best_order']} is the better one" if top.get("best_order") else ""
    doubt = "" if verdicts[MATTERS] else ", which is not shown to be more than noise"
    differ = (
        f"the orders differ by {short(top['order_sensitivity'])}{_interval(top, 'order_sensitivity')}{better}{doubt}"
    )
    sentences = [f"Order matters most for {pair_name(top)} on {top['criterion']}: {differ}."]
    if any(verdicts[verdict] for verdict in (MATTERS, DOES_NOT_MATTER, NOT_SHOWN)):
        told = f"order is shown to matter in {verdicts[MATTERS]}, shown not to matter in {verdicts[DOES_NOT_MATTER]}"
        sentences.append(f"Of {len(sensitive)} cells, {told} and neither in the rest.")
    return sentences


def _extremes(records: Sequence[Mapping[str, Any]], scales: Mapping[str, Scale]) -> list[str]:
    """The pairs that keep most and least of the first edit criterion there is."""
    for criterion in ("edit_success", *dict.fromkeys(record["criterion"] for record in records)):
        ranked = _ranked([record for record in records if record["criterion"] == criterion], "order_free_error")
        if len(ranked) > 1:
            ends = [f"{pair_name(r)} ({short(r['order_free_error'])})" for r in (ranked[0], ranked[-1])]
            meaning = "in the better order (order-free error; 0 is ideal)"
            return [f"On {criterion}, {ends[0]} composes best and {ends[1]} worst, {meaning}."]
    return []


def _range(record: Mapping[str, Any], scales: Mapping[str, Scale]) -> float:
    scale = scales.get(record["criterion"])
    return scale.high - scale.low if scale and scale.high is not None and scale.low is not None else 0.0


def _ranked(records: Sequence[Mapping[str, Any]], metric: str) -> list[Mapping[str, Any]]:
    return sorted((r for r in records if r[metric] is not None), key=lambda r: (r[metric], pair_name(r)))


def _named(records: Sequence[Mapping[str, Any]], metric: str, order: bool = False) -> str:
    if not records:
        return ""
    record = records[0]
    better = f", {record['best_order']} is better" if order and record.get("best_order") else ""
    return f"{pair_name(record)} ({short(record[metric])}{better})"


def _interval(record: Mapping[str, Any], metric: str) -> str:
    low, high = record.get(f"{metric}_low"), record.get(f"{metric}_high")
    if low is None or high is None or math.isinf(low):
        return ""
    return f" (95 % interval {short(low)} to {short(high)}, n = {record['n_replicates']})"

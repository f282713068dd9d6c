"""Plain-language findings of a composability table: what composes, where the order matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayci.analysis.answering import aims
from rayci.analysis.text.tables import pair_name, short


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


def _ranked(records: Sequence[Mapping[str, Any]], metric: str) -> list[Mapping[str, Any]]:
    return sorted((r for r in records if r[metric] is not None), key=lambda r: (r[metric], pair_name(r)))


def _named(records: Sequence[Mapping[str, Any]], metric: str, order: bool = False) -> str:
    if not records:
        return ""
    record = records[0]
    better = f", {record['best_order']} is better" if order and record.get("best_order") else ""
    return f"{pair_name(record)} ({short(record[metric])}{better})"

"""Of sets of three and more methods: which of two goes first, and what each method changes, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rayci.analysis.composing.prefix_drops import attribution
from rayci.analysis.composing.swapped_orders import precedence
from rayci.analysis.page.compact import Number, numbers
from rayci.analysis.scan.reading_point import At
from rayci.analysis.statistics.intervals import LEVEL
from rayci.analysis.text.tables import records_of
from rayci.table import ResultTable


def chain_data(
    table: ResultTable, criteria: Sequence[str], sizes: Sequence[int], at: At
) -> dict[str, dict[int, dict[str, Any]]]:
    """Name of the methods -> place of the criterion -> its `swaps` and `changes`; what is not known is left out.

    `swaps`: [goes first, goes second, lead, low, high, whether that is shown]; the lead of equals is 0.
    `changes`: {`from`: untouched, `to`: mean over orders of the ends, `unit`, `of`: [method, change, low, high]}; the
    changes, means over all orders of κ after the method minus κ before it, add up to `to` − `from`.
    """
    chains: dict[str, dict[int, dict[str, Any]]] = {}

    def about(record: Mapping[str, Any]) -> dict[str, Any]:
        return chains.setdefault(record["methods"], {}).setdefault(criteria.index(record["criterion"]), {})

    for size in sizes:
        for record in records_of(precedence(table, at, criteria, size=size)):
            if record["precedence"] is not None:
                about(record).setdefault("swaps", []).append(_swap(record))
        for record in records_of(attribution(table, at, criteria, size=size)):
            if record["drop"] is not None:
                ends = {"from": record["value_none"], "to": record["value_all"]}
                known = {name: numbers([value])[0] for name, value in ends.items()}
                changes = about(record).setdefault("changes", {**known, "unit": record["unit"], "of": []})
                changes["of"].append(
                    [record["method"], *_turned([record[f"drop{end}"] for end in ("", "_low", "_high")])]
                )
    return chains


def _swap(record: Mapping[str, Any]) -> list[Any]:
    """The two methods, the one that should go first before the other, and by how much: never less than zero."""
    ahead, behind = record["first"], record["second"]
    if record["better_first"] == behind:
        ahead, behind = behind, ahead
    ends = [record[f"precedence{end}"] for end in ("", "_low", "_high")]
    p = record["precedence_p_adjusted"]
    return [ahead, behind, *(numbers(ends) if ends[0] >= 0 else _turned(ends)), p is not None and p < LEVEL]


def _turned(ends: Sequence[float | None]) -> list[Number]:
    """Value, low and high end with the other sign."""
    value, low, high = ends
    return numbers(None if end is None else 0.0 - end for end in (value, high, low))

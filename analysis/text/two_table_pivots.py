"""Two tables beside each other as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rayci.analysis.statistics.intervals import LEVEL
from rayci.analysis.text.tables import Pivot, ranged, records_of, short

if TYPE_CHECKING:
    import pandas as pd

    from rayci.analysis.answering.two_tables import TwoTables

_LEGEND = (
    "Differences are first minus second. differ: cells whose difference is shown (p adjusted over all cells < .05), of"
    " those that have an interval."
)
_SIDES = (("first", "here"), ("second", "there"))
_NAMED = 6


def criteria_pivot(told: TwoTables) -> Pivot:
    """A line for each criterion: how far the common cells are apart, and whether they rank alike."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for record in records_of(told.differences):
        cells.setdefault(record["criterion"], []).append(record)
    ranks = {record["criterion"]: record for record in records_of(told.correlations)}
    rows = tuple((criterion, *_apart(held), *_ranks(ranks[criterion])) for criterion, held in cells.items())
    header = ("criterion", "cells", "mean |difference|", "largest", "of", "differ", "Spearman", "Kendall")
    only = [_only(which, names) for which, names in (("first", told.only_here), ("second", told.only_there)) if names]
    return Pivot(header, rows, (_LEGEND, *only))


def cells_pivot(differences: pd.DataFrame) -> Pivot:
    """Every common cell with its difference and interval."""
    rows = tuple(
        (
            record["composition"],
            record["criterion"],
            short(record["here"]),
            short(record["there"]),
            ranged(*(record[f"difference{end}"] for end in ("", "_low", "_high"))),
            " and ".join(
                f"{side}: {record[f'interval_of_{key}']}" for side, key in _SIDES if record[f"interval_of_{key}"]
            ),
        )
        for record in records_of(differences)
    )
    return Pivot(("composition", "criterion", "first", "second", "difference", "interval over"), rows, ())


def rules_of_two(rules: pd.DataFrame, *, wide: bool = False) -> Pivot:
    """The ordering rules in both tables; with `wide`, the numbers of every part below."""
    records = records_of(rules)
    rows = tuple(
        (f"{record['rule']}. {record['claim']}", *(_answer(record, side) for side in ("here", "there")))
        for record in records
    )
    notes = [
        f"{record['rule']}, {which}: {record[f'sentence_{side}']}"
        for record in records
        for which, side in _SIDES
        if wide and record[f"statistic_{side}"] is not None
    ]
    return Pivot(("ordering rule", "first", "second"), rows, tuple(notes))


def _apart(cells: list[dict[str, Any]]) -> tuple[str, ...]:
    known = [record for record in cells if record["difference"] is not None]
    if not known:
        return (str(len(cells)), "–", "–", "–", "–")
    largest = max(known, key=lambda record: abs(record["difference"]))
    mean = sum(abs(record["difference"]) for record in known) / len(known)
    ps = [record["difference_p_adjusted"] for record in known if record["difference_p_adjusted"] is not None]
    shown = f"{sum(p < LEVEL for p in ps)} of {len(ps)}" if ps else "–"
    where = largest["composition"] if largest["difference"] else "–"
    return (str(len(cells)), short(mean), short(largest["difference"]), where, shown)


def _ranks(record: Mapping[str, Any]) -> tuple[str, str]:
    return short(record["spearman"]), short(record["kendall"])


def _answer(record: Mapping[str, Any], side: str) -> str:
    statistic = record[f"statistic_{side}"]
    numbers = "" if statistic is None else f" ({statistic:+.2f}, n = {record[f'n_{side}']})"
    return f"{record[side]}{numbers}"


def _only(which: str, names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"Only in the {which}: {', '.join(names[:_NAMED])}{more}."

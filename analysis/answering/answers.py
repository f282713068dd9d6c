"""In which order? One cell for each pair and criterion: the better order, by how much, and whether that is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rayci.analysis.answering.findings import concerns
from rayci.analysis.statistics.verdicts import DOES_NOT_MATTER, MATTERS, UNDECIDED
from rayci.analysis.text.tables import Pivot, pair_name, records_of, short

if TYPE_CHECKING:
    import pandas as pd

LEGEND = (
    "Which method goes first, and by how much that order is better. either: shown not to matter."
    " ?: not shown, for noise or for fewer than 3 edit batches. lost: points are missing that could tell."
)


def answers(frame: pd.DataFrame) -> Pivot:
    """What a composability table of pairs says about their order; without rows where it has no two orders.

    Criteria that say nothing about the methods of a row (edit success where nothing is edited) show `–`.
    """
    records = [record for record in records_of(frame) if "gap" in record]
    names = list(dict.fromkeys(record["criterion"] for record in records))
    cells: dict[str, dict[str, str]] = {}
    for record in records:
        cells.setdefault(pair_name(record), {})[record["criterion"]] = answer(record)
    rows = tuple((pair, *(held.get(name, "–") for name in names)) for pair, held in cells.items())
    if all(cell == "–" for _, *held in rows for cell in held):
        return Pivot((), (), ())
    return Pivot(("methods", *names), rows, (LEGEND,))


def answer(record: Mapping[str, Any]) -> str:
    """`wanda by 0.14`, `either`, `wanda by 0.02?`, `equal?`, `lost` or `–`."""
    verdict = record["verdict"]
    if verdict is None or not concerns(record):
        return "–"
    if verdict == UNDECIDED:
        return "lost"
    if verdict == DOES_NOT_MATTER:
        return "either"
    better = record["best_order"] and f"{record['best_order'].split(' > ')[0]} by {short(abs(record['gap']))}"
    return (better or "equal") + ("" if verdict == MATTERS else "?")

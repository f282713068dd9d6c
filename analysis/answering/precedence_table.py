"""Which of two methods should go first within a set of three and more, as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rayci.analysis.answering.comparisons import Comparison
from rayci.analysis.statistics.intervals import LEVEL
from rayci.analysis.text.tables import Pivot, records_of, short

if TYPE_CHECKING:
    import pandas as pd

_LEGEND = (
    "Means over pairs of orders that have the two methods in each other's place and all else alike."
    " yes = p < .05, adjusted over all pairs of methods."
)
_HEADER = ("methods", "first", "by", "95 % interval", "matters")


def precedence_pivot(frame: pd.DataFrame, compared: Sequence[Comparison], *, wide: bool = False) -> Pivot:
    """Sets of methods, below each a line for every criterion and two methods; without `wide` those that are shown."""
    concerned = {(" × ".join(row.methods), row.criterion): row.name for row in compared}
    lines: dict[str, list[tuple[str, ...]]] = {}
    left_out = 0
    for record in records_of(frame):
        name = concerned.get((record["methods"], record["criterion"]))
        if name is None or record["precedence"] is None:
            continue
        shown = record["precedence_p_adjusted"] is not None and record["precedence_p_adjusted"] < LEVEL
        if shown or wide:
            lines.setdefault(name, []).append(_line(record, shown))
        left_out += not (shown or wide)
    blank = ("",) * (len(_HEADER) - 1)
    more = [f"not shown to be more than noise: {left_out} (--wide)."] if left_out else []
    return Pivot(
        _HEADER, tuple(row for name, held in lines.items() for row in [(name, *blank), *held]), (_LEGEND, *more)
    )


def _line(record: Mapping[str, Any], shown: bool) -> tuple[str, ...]:
    low, high = record["precedence_low"], record["precedence_high"]
    ends = (low, high) if record["precedence"] >= 0 else (high and -high, low and -low)
    second = record["second"] if record["better_first"] == record["first"] else record["first"]
    first = "equal" if record["better_first"] is None else f"{record['better_first']} before {second}"
    interval = "" if low is None or high is None else f"[{short(ends[0])}, {short(ends[1])}]"
    criterion = f"  {record['criterion'].replace('_', ' ')}"
    return (criterion, first, short(abs(record["precedence"])), interval, "yes" if shown else "unclear")

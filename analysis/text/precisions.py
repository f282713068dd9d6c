"""What is still known after unlearning and rounding, as a short table: a row per unlearner, a column per precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.recovered import recovered
from rayci.analysis.text.tables import Pivot, records_of, short
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

LEGEND = (
    "Values in the order of their edit batches and seeds. In brackets how much is back, on average, of what the"
    " quantised model knows and the unlearned one had lost; none back: no more is known than before rounding."
)
FULL = "full precision"
_SHOWN = 5
"""Most values that stand in a cell one by one; of more, the mean and the ends."""


def knowledge_tables(table: ResultTable, criteria: Sequence[str] = ()) -> Iterator[tuple[str, Pivot]]:
    """(criterion, with its model where there are several; its table); none where no quantiser follows unlearning.

    `criteria`: only those of them that say what was forgotten; all where none is named.
    """
    frame = recovered(table)
    models = frame["model"].nunique()
    for (model, criterion), part in frame.groupby(["model", "criterion"], sort=False):
        if not criteria or criterion in criteria:
            yield f"{criterion}, {model}" if models > 1 else str(criterion), knowledge(part)


def knowledge(frame: pd.DataFrame) -> Pivot:
    """`recovered` of one model and criterion: its values at every precision, and the share that came back.

    Without rows where the frame has none.
    """
    records = records_of(frame)
    if not records:
        return Pivot((), (), ())
    precisions = list(dict.fromkeys(_precision(r) for r in sorted(records, key=lambda r: (r["quantiser"], -r["bits"]))))
    header = ("unlearner", FULL, *precisions)
    rows = [("none", *_untouched(records, precisions))]
    for unlearner in dict.fromkeys(record["unlearner"] for record in records):
        own = [record for record in records if record["unlearner"] == unlearner]
        rows.append((unlearner, _full(own), *(_cell([r for r in own if _precision(r) == p]) for p in precisions)))
    return Pivot(header, tuple(rows), _reasons(records))


def _precision(record: Mapping[str, Any]) -> str:
    return f"{record['quantiser']} {record['bits']:g} bits"


def _untouched(records: Sequence[Mapping[str, Any]], precisions: Sequence[str]) -> list[str]:
    """The model without unlearning; a value that stands for all seeds is one and the same in every record."""
    held = {_precision(record): record["quantised"] for record in records}
    return [short(records[0]["untouched"]), *(short(held[precision]) for precision in precisions)]


def _full(records: Sequence[Mapping[str, Any]]) -> str:
    by_unit = {(record["replicate"], record["seed"]): record["unlearned"] for record in records}
    return _values(list(by_unit.values()))


def _cell(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return "–"
    shares = [record["recovered"] for record in records if record["recovered"] is not None]
    back = f" ({_back(sum(shares) / len(shares))})" if len(shares) == len(records) else ""
    return _values([record["unlearned_quantised"] for record in records]) + back


def _back(share: float) -> str:
    """`53 %`; a share below zero is no negative recovery: quantised, the unlearned model knows even less."""
    percent = round(100 * share)
    return f"{percent} %" if percent > 0 else "none back"


def _reasons(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why shares are missing, each reason once with the unlearners it is about."""
    unlearners: dict[str, dict[str, None]] = {}
    for record in records:
        if record["reason"]:
            unlearners.setdefault(record["reason"], {})[record["unlearner"]] = None
    return tuple(f"{reason} ({', '.join(names)})" for reason, names in unlearners.items())


def _values(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(values) <= _SHOWN or len(known) < len(values):
        return " ".join(map(short, values))
    return f"{short(sum(known) / len(known))}, {short(min(known))} … {short(max(known))}"

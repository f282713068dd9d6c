"""How robust unlearners are, as a short table: a row per unlearner, a column per quantiser and per relearning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from rayci.analysis.composing.robustness import robustness
from rayci.analysis.text.still_known import followed_by
from rayci.analysis.text.tables import Pivot, records_of, short
from rayci.table import ResultTable

_Record = Mapping[str, Any]
LEGEND = (
    "Q: the share of what was forgotten that stays so when quantised; R: how much less a model that never knew learns"
    " from relearning, as a share of what comes back, 1 at most; score: their harmonic mean, averaged over the pairs of"
    " a quantiser and a relearning. 1 is robust."
)


def robustness_tables(table: ResultTable, criteria: Sequence[str] = ()) -> Iterator[tuple[str, Pivot]]:
    """(criterion, with its model where there are several; its table); none where there is no score."""
    frame = robustness(table)
    frame = frame[frame["score"].notna()]
    models = frame["model"].nunique()
    for (model, criterion), part in frame.groupby(["model", "criterion"], sort=False):
        if not criteria or criterion in criteria:
            yield f"{criterion}, {model}" if models > 1 else str(criterion), robustness_pivot(records_of(part))


def robustness_pivot(records: Sequence[_Record]) -> Pivot:
    """Means over edit batches and seeds, the most robust unlearner first."""
    rows = {}
    for unlearner in dict.fromkeys(record["unlearner"] for record in records):
        own = [record for record in records if record["unlearner"] == unlearner]
        shares = {**_means(own, _quantiser, "q"), **_means(own, _relearning, "r")}
        rows[unlearner] = fmean(record["score"] for record in own), shares
    columns = list(dict.fromkeys(name for _, shares in rows.values() for name in shares))
    ranked = sorted(rows, key=lambda unlearner: -rows[unlearner][0])
    cells = [(name, *(short(rows[name][1].get(column)) for column in columns), short(rows[name][0])) for name in ranked]
    return Pivot(("unlearner", *columns, "score"), tuple(cells), ())


def _quantiser(record: _Record) -> str:
    return "Q " + followed_by(record["quantiser"], record["bits"], "bits")


def _relearning(record: _Record) -> str:
    return "R " + followed_by(record["relearning"], record["strength"], "epochs")


def _means(records: Sequence[_Record], column: Callable[[_Record], str], share: str) -> dict[str, float]:
    held: dict[str, list[float]] = {}
    for record in records:
        held.setdefault(column(record), []).append(record[share])
    return {name: fmean(shares) for name, shares in held.items()}

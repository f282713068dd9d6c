"""What quantisation brings back of what was unlearned, in a sentence for each criterion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from rayci.analysis.composing.recovered import recovered
from rayci.analysis.text.tables import records_of
from rayci.table import ResultTable

LEAST_BACK = 0.1
"""Share of what was lost from which on it is said to be back."""


def brought_back(table: ResultTable) -> list[str]:
    """For each model and criterion: at most how much comes back of what each unlearner took, and at which precision.

    Shares are means over edit batches and seeds, as in `recovered`; nothing is said of what has none.
    """
    frame = recovered(table)
    models = frame["model"].nunique()
    said: list[str] = []
    for (model, criterion), part in frame.groupby(["model", "criterion"], sort=False):
        about = f"{criterion} of {model}" if models > 1 else str(criterion)
        said += _sentence(about, records_of(part))
    return said


def _sentence(about: str, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    shares: dict[tuple[str, str], list[float]] = {}
    for record in records:
        precision = f"{record['quantiser']} at {record['bits']:g} bits"
        if record["recovered"] is not None:
            shares.setdefault((record["unlearner"], precision), []).append(record["recovered"])
    most: dict[str, tuple[float, str]] = {}
    for (unlearner, precision), units in shares.items():
        most[unlearner] = max(most.get(unlearner, (fmean(units), "")), (fmean(units), precision))
    back = sorted((name for name in most if most[name][0] >= LEAST_BACK), key=lambda name: -most[name][0])
    gone = [name for name in most if name not in back]
    by_precision: dict[str, list[str]] = {}
    for name in back:
        share, precision = most[name]
        by_precision.setdefault(precision, []).append(f"{100 * share:.0f} % of what {name} took")
    parts = [f"{precision} {', '.join(told)}" for precision, told in by_precision.items()]
    if gone:
        percent = round(100 * max(most[name][0] for name in gone))
        parts.append(f"{f'at most {percent} %' if percent > 0 else 'nothing'} of what {', '.join(gone)} took")
    if parts:
        yield f"Quantisation brings {'' if back else 'hardly any '}{about} back: {'; '.join(parts)}."

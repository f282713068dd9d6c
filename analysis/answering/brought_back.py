"""What quantising and training further bring back of what was unlearned, in sentences for each criterion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from rayci.analysis.composing.recovered import recovered
from rayci.analysis.scan.variant import never_knew
from rayci.analysis.text.still_known import amount
from rayci.analysis.text.tables import records_of
from rayci.table import ResultTable

LEAST_BACK = 0.1
"""Share of what was lost from which on it is said to be back."""


def brought_back(table: ResultTable) -> list[str]:
    """For each model and criterion: at most how much comes back of what each unlearner took, and after what.

    A sentence for quantisers, one for each method that trains further. Shares are means over edit batches and seeds, as
    in `recovered`; nothing is said of what has none.
    """
    frame = recovered(table)
    models = frame["model"].nunique()
    said: list[str] = []
    for (model, criterion), part in frame.groupby(["model", "criterion"], sort=False):
        about = f"{criterion} of {model}" if models > 1 else str(criterion)
        by_means: dict[str, list[Mapping[str, Any]]] = {}
        for record in records_of(part):
            means = "Quantisation" if record["strength_name"] == "bits" else f"Training by {record['then']}"
            by_means.setdefault(means, []).append(record)
        for means, records in by_means.items():
            said += _sentence(means, about, records)
    return said


def _sentence(means: str, about: str, records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    most = _most(records)
    back = sorted((name for name in most if most[name][0] >= LEAST_BACK), key=lambda name: -most[name][0])
    gone = [name for name in most if name not in back]
    by_step: dict[str, list[str]] = {}
    for name in back:
        share, step = most[name]
        by_step.setdefault(step, []).append(f"{100 * share:.0f} % of what {name} took")
    parts = [f"{step} {', '.join(told)}" for step, told in by_step.items()]
    if gone:
        percent = round(100 * max(most[name][0] for name in gone))
        parts.append(f"{f'at most {percent} %' if percent > 0 else 'nothing'} of what {', '.join(gone)} took")
    if parts:
        yield f"{means} brings {'' if back else 'hardly any '}{about} back: {'; '.join(parts)}."


def _most(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, str]]:
    """Unlearner -> the largest share that came back of what it took, and after which step."""
    shares: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if record["recovered"] is not None and not never_knew(record["unlearner"]):
            shares.setdefault((record["unlearner"], _step(record)), []).append(record["recovered"])
    most: dict[str, tuple[float, str]] = {}
    for (unlearner, step), units in shares.items():
        most[unlearner] = max(most.get(unlearner, (fmean(units), "")), (fmean(units), step))
    return most


def _step(record: Mapping[str, Any]) -> str:
    """`rtn at 4 bits`; what trains further is named at the sentence's beginning, so `after 0.5 epochs`."""
    strength, name = record["strength"], record["strength_name"]
    if name == "bits":
        return str(record["then"]) if strength is None else f"{record['then']} at {strength:g} bits"
    if strength is None:
        return "in all"
    return f"{'after' if name == 'epochs' else 'at'} {amount(strength, name)}"

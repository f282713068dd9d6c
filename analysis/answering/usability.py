"""Steps that ruin the model by themselves: what composes with them cannot be told from such a table."""

from __future__ import annotations

from statistics import fmean

import pyarrow.compute as pc

from rayci.analysis.answering.aims import GENERAL
from rayci.analysis.text.tables import short
from rayci.kinds import Direction, Status
from rayci.table import ResultTable

MOST_LOST = 0.2
"""Share of the untouched model's utility that a method may cost before it is told."""


def ruinous_steps(table: ResultTable) -> list[str]:
    """One sentence for each step and criterion where the step alone costs more than `MOST_LOST`, the worst first.

    Means over replicates and seeds; the share is of the untouched model's value. Steps that were not
    measured alone, or without an untouched model to compare with, are not judged.
    """
    judged = (
        (pc.field("stage") <= 1)
        & (pc.field("status") == Status.OK.value)
        & (pc.field("direction") == Direction.HIGHER.value)
        & pc.field("criterion").isin(GENERAL)
    )
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in table.arrow.filter(judged).select(["model", "criterion", "composition", "value"]).to_pylist():
        by_step = values.setdefault((row["model"], row["criterion"]), {})
        by_step.setdefault(row["composition"], []).append(row["value"])
    told: list[tuple[float, str]] = []
    for (_, criterion), by_step in values.items():
        before = fmean(by_step.pop("", [0.0]))
        for step, measured in by_step.items():
            after = fmean(measured)
            if after < (1 - MOST_LOST) * before:
                told.append((1 - after / before, _sentence(step, criterion, before, after)))
    return [sentence for _, sentence in sorted(told, reverse=True)]


def _sentence(step: str, criterion: str, before: float, after: float) -> str:
    percent = 100 * (1 - after / before)
    lowered = f"{step} alone lowers {criterion} from {short(before)} to {short(after)} ({percent:.0f} %)"
    return f"{lowered}: its settings leave the model unusable; composability figures with it say little"

"""Values after every stage of what was run in one order only: no composability, but the answer to what survives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.chain_curves import interval, typed
from rayci.analysis.composing.stage_summaries import StageSummaries
from rayci.analysis.scan.asked import Composition
from rayci.analysis.scan.cells import chosen_criteria, scale_of
from rayci.analysis.scan.chain_values import Chains
from rayci.table import ResultTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "criterion", "composition", "stage", "after", "final", "value", "value_low", "value_high",
    "n_replicates", "interval_of", "unit", "direction", "reason",
)  # fmt: skip


def final_values(table: ResultTable, criteria: Sequence[str] | None = None) -> pd.DataFrame:
    """Every criterion after every stage of each composition whose steps were run in one order only, singles included.

    One row per criterion, composition and stage: `stage` 0 is the untouched model, `after` what was applied until then,
    `final` the composition's end. Means over edit batches (seeds within them first) with Student-t intervals from three
    units on, of one measurement over its items. Raises RequestError for unknown criteria and for a table of several
    models or policies.
    """
    chains = Chains(table)
    orders = Counter(frozenset(Counter(steps).items()) for steps in chains.finals)
    single = [steps for steps in chains.finals if steps and orders[frozenset(Counter(steps).items())] == 1]
    rows: list[dict[str, Any]] = []
    for criterion in chosen_criteria(table, criteria):
        rows += _stages(StageSummaries(chains, criterion, scale_of(table, criterion)), sorted(single, key=len))
    return typed(rows, COLUMNS, ("criterion", "composition", "after")).astype({"stage": "Int64", "final": "boolean"})


def _stages(held: StageSummaries, compositions: Sequence[Composition]) -> Iterator[dict[str, Any]]:
    ways = [held.chains.along(composition) for composition in compositions]
    told = iter(held.after([stage for way in ways for stage in way]))
    for composition, way in zip(compositions, ways, strict=True):
        for depth, stage in enumerate(way):
            value = next(told)
            yield {
                "criterion": held.criterion,
                "composition": held.chains.name(composition),
                "stage": depth,
                "after": stage.name,
                "final": depth == len(way) - 1,
                **interval("value", value.summary),
                "n_replicates": value.summary.n,
                "interval_of": value.over,
                "unit": held.scale.unit,
                "direction": str(held.scale.direction),
                "reason": value.reason,
            }

"""Values after every stage of what was run in one order only: no composability, but the answer to what survives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rayci.analysis.composing.chain_curves import interval, typed
from rayci.analysis.scan.asked import Composition
from rayci.analysis.scan.cells import chosen_criteria, final_cells, scale_of
from rayci.analysis.scan.chain_values import Chains, ChainValues
from rayci.analysis.statistics.intervals import LEAST_UNITS, summarise
from rayci.kinds import Scale
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
    units on. Raises RequestError for unknown criteria and for a table of several models or policies.
    """
    final_cells(table)  # refuses a mixture of models or policies
    chains = Chains(table)
    orders = Counter(frozenset(Counter(steps).items()) for steps in chains.finals)
    single = [steps for steps in chains.finals if steps and orders[frozenset(Counter(steps).items())] == 1]
    rows: list[dict[str, Any]] = []
    for criterion in chosen_criteria(table, criteria):
        held, scale = chains.read(criterion), scale_of(table, criterion)
        for composition in sorted(single, key=len):
            rows += _stages(chains, composition, held, scale)
    return typed(rows, COLUMNS, ("criterion", "composition", "after")).astype({"stage": "Int64", "final": "boolean"})


def _stages(chains: Chains, composition: Composition, held: ChainValues, scale: Scale) -> Iterator[dict[str, Any]]:
    stages = chains.along(composition)
    for depth, stage in enumerate(stages):
        read = held.of([stage])
        units = list(read.values[:, 0])
        summary = summarise(units)
        yield {
            "criterion": held.criterion,
            "composition": chains.name(composition),
            "stage": depth,
            "after": stage.name,
            "final": depth == len(stages) - 1,
            **interval("value", summary),
            "n_replicates": len(units),
            "interval_of": read.units if len(units) >= LEAST_UNITS else None,
            "unit": scale.unit,
            "direction": str(scale.direction),
            "reason": held.why(stage) if summary.mean is None else None,
        }

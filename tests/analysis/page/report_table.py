"""A table with whatever a report has to show: pairs, a triple, lost points, infinity, names that would be markup."""

from __future__ import annotations

import itertools
import math

from rayci.table import ResultTable, Row
from tests.analysis.synthetic_table import both_orders, row, table

EVIL = "</script><script>alert('x')</script> & \"quotes\""


def report_table() -> ResultTable:
    """Three edit batches; `ft × wanda` and `wanda × gd` swept, `ft × gd` not, `ft × wanda × gd` in three orders."""
    rows = [
        row("", "mmlu", 0.9),
        row("wanda@0.25", "mmlu", 0.8),
        row("wanda@0.5", "mmlu", 0.7),
        row("wanda@0.75", "mmlu", 0.4),
    ]
    for k in (0, 1, 2):
        first, second = {0.25: 0.9 - k / 50, 0.5: 0.6}, {0.25: 0.95, 0.5: EVIL if k == 2 else 0.9}
        rows += both_orders("ft", "wanda", "edit_success", first, second, replicate=k)
        rows += both_orders("ft", "wanda", "mmlu", {0.25: 0.7, 0.5: 0.5}, {0.25: 0.6, 0.5: 0.5}, replicate=k)
        rows += both_orders("ft", "wanda", "perplexity", {0.25: 4, 0.5: math.inf}, {0.25: 5, 0.5: 900}, replicate=k)
        rows += both_orders("ft", "wanda", "avg_bits", {0.25: 12, 0.5: 8}, {0.25: 16, 0.5: 16}, replicate=k)
        rows += [row("ft > gd", "mmlu", 0.5, replicate=k), row("gd > ft", "mmlu", 0.4, replicate=k)]
        for gamma in (0.25, 0.5):
            for place, name in enumerate(("ft > wanda@{} > gd", "wanda@{} > ft > gd", "gd > ft > wanda@{}")):
                rows.append(row(name.format(gamma), "mmlu", 0.8 - gamma / 2 - place / 10, replicate=k))
    rows += both_orders("gd", "wanda", "wmdp", {0.25: 0.3, 0.5: 0.28}, {0.25: 0.4, 0.5: 0.25})
    return table(rows)


def three_methods(criterion: str, worse: float) -> list[Row]:
    """Every order of ft, gd and rtn with all its stages; rounding after editing changes the criterion by `worse`."""
    stages = {
        " > ".join(order[:depth]) for order in itertools.permutations(("ft", "gd", "rtn@4")) for depth in (1, 2, 3)
    }
    rows = [row("", criterion, 0.5)]
    for stage, (batch, noise) in itertools.product(sorted(stages), enumerate((-0.01, 0.0, 0.01))):
        methods = [step.split("@")[0] for step in stage.split(" > ")]
        rounded = {"ft", "rtn"} <= set(methods) and methods.index("ft") < methods.index("rtn")
        value = 0.5 + 0.3 * ("ft" in methods) + worse * rounded + noise
        rows.append(row(stage, criterion, value, replicate=batch, final=len(methods) == 3))
    return rows

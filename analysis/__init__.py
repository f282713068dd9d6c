"""From the result table to composability metrics, figures and a report; needs neither torch nor Ray.

>>> from rayci import analysis
>>> table = analysis.load("published:llama3_8b")
>>> analysis.metrics(table, at="published", criteria=["mmlu"]).head()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayci.analysis.answering.ordering_rules.rule_table import rules
    from rayci.analysis.answering.recommendation import recommend
    from rayci.analysis.answering.two_tables import compare
    from rayci.analysis.answering.usability import ruinous_steps
    from rayci.analysis.answering.which_order import which_order
    from rayci.analysis.composing.best_orders import ranked_orders
    from rayci.analysis.composing.epsilon import composable_share
    from rayci.analysis.composing.excess import interactions
    from rayci.analysis.composing.metric_table import metrics
    from rayci.analysis.composing.prefix_drops import attribution
    from rayci.analysis.composing.recovered import recovered
    from rayci.analysis.composing.robustness import robustness
    from rayci.analysis.composing.stage_table import final_values
    from rayci.analysis.composing.swapped_orders import precedence
    from rayci.analysis.composing.time_split import time_split
    from rayci.analysis.composing.win_counts import wins
    from rayci.analysis.page.html_report import report
    from rayci.analysis.page.printed import FIGURES, print_figure, print_figures
    from rayci.analysis.scan.curve import curves
    from rayci.analysis.scan.sources import load

__all__ = [
    "FIGURES",
    "attribution",
    "compare",
    "composable_share",
    "curves",
    "final_values",
    "interactions",
    "load",
    "metrics",
    "precedence",
    "print_figure",
    "print_figures",
    "ranked_orders",
    "recommend",
    "recovered",
    "report",
    "robustness",
    "ruinous_steps",
    "rules",
    "time_split",
    "which_order",
    "wins",
]

_HOMES = {
    "FIGURES": "page.printed",
    "attribution": "composing.prefix_drops",
    "compare": "answering.two_tables",
    "composable_share": "composing.epsilon",
    "curves": "scan.curve",
    "final_values": "composing.stage_table",
    "interactions": "composing.excess",
    "load": "scan.sources",
    "metrics": "composing.metric_table",
    "precedence": "composing.swapped_orders",
    "print_figure": "page.printed",
    "print_figures": "page.printed",
    "ranked_orders": "composing.best_orders",
    "recommend": "answering.recommendation",
    "recovered": "composing.recovered",
    "report": "page.html_report",
    "robustness": "composing.robustness",
    "ruinous_steps": "answering.usability",
    "rules": "answering.ordering_rules.rule_table",
    "time_split": "composing.time_split",
    "which_order": "answering.which_order",
    "wins": "composing.win_counts",
}
"""Public function -> its module. No room has a public function's name: importing it would hide the function."""


def __getattr__(name: str) -> Any:
    # `import rayci.analysis` stays cheap: pyarrow, pandas and plotly load on first use.
    if name in _HOMES:
        return getattr(import_module(f"rayci.analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rayci.analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

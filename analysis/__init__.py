"""From the result table to composability metrics, figures and a report; needs neither torch nor Ray.

>>> from rayci import analysis
>>> table = analysis.load("published:llama3_8b")
>>> analysis.metrics(table, at="published", criteria=["mmlu"]).head()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayci.analysis.curve import curves
    from rayci.analysis.epsilon import composable_share
    from rayci.analysis.html_report import report
    from rayci.analysis.metric_table import metrics
    from rayci.analysis.sources import load
    from rayci.analysis.usability import ruinous_steps
    from rayci.analysis.win_counts import wins

__all__ = ["composable_share", "curves", "load", "metrics", "report", "ruinous_steps", "wins"]

_HOMES = {
    "composable_share": "epsilon",
    "curves": "curve",
    "load": "sources",
    "metrics": "metric_table",
    "report": "html_report",
    "ruinous_steps": "usability",
    "wins": "win_counts",
}
"""Public function -> its module. No module has a public function's name: importing it would hide the function."""


def __getattr__(name: str) -> Any:
    # `import rayci.analysis` stays cheap: pyarrow, pandas and plotly load on first use.
    if name in _HOMES:
        return getattr(import_module(f"rayci.analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rayci.analysis' has no attribute {name!r}")

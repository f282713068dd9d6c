"""What `rayci metrics` and `run` show of unlearning followed by quantisation: what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayci import analysis

LEGEND = (
    "Values in the order of their edit batches and seeds. In brackets the mean share of the knowledge that the"
    " quantised model has and the unlearned one had lost: 0 % stays forgotten, 100 % is back."
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rayci.analysis.text.tables import Pivot
    from rayci.table import ResultTable


def knowledge_tables(table: ResultTable) -> Iterator[tuple[str, Pivot]]:
    """(title, table) for every model and criterion of forgetting; none where no quantiser follows an unlearner."""
    from rayci.analysis.text.precisions import knowledge

    frame = analysis.recovered(table)
    models = frame["model"].nunique()
    for (model, criterion), part in frame.groupby(["model", "criterion"], sort=False):
        yield f"What quantisation brings back: {criterion}" + (f", {model}" if models > 1 else ""), knowledge(part)

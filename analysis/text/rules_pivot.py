"""The fourteen ordering rules of one table, as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rayci.analysis.text.tables import Pivot, records_of

if TYPE_CHECKING:
    import pandas as pd


def rules_pivot(rules: pd.DataFrame) -> Pivot:
    """Every claim with its answer and the numbers behind it, or what the table lacks; where rules disagree, below."""
    records = records_of(rules)
    rows = tuple((f"{record['rule']}. {record['claim']}", record["answer"], record["sentence"]) for record in records)
    notes = [
        f"Rule {record['rule']} wants another order than {record['disagrees_with']}."
        for record in records
        if record["disagrees_with"]
    ]
    return Pivot(("ordering rule", "holds", "numbers"), rows, tuple(notes))

"""The table of robustness scores: the most robust first, scores averaged over pairs of a quantiser and a relearning."""

from __future__ import annotations

from rayci.analysis.text.robustness_pivot import robustness_tables
from tests.analysis.synthetic_table import row, table

ALONE = {"": 1.0, "rtn@8": 1.0, "rtn@4": 0.9, "relearn@1": 1.0, "relearn@2": 1.0}
NEVER_KNEW = {"retrain": 0.2, "retrain > relearn@1": 0.3, "retrain > relearn@2": 0.4}
GD = {"gd": 0.2, "gd > rtn@8": 0.2, "gd > rtn@4": 0.6, "gd > relearn@1": 0.4, "gd > relearn@2": 0.7}
RMU = {"rmu": 0.2, "rmu > rtn@8": 0.2, "rmu > rtn@4": 0.2, "rmu > relearn@1": 0.3, "rmu > relearn@2": 0.6}


def test_a_column_for_each_half_and_the_mean_score_of_their_pairs() -> None:
    rows = [row(text, "wmdp", value) for text, value in {**ALONE, **NEVER_KNEW, **GD, **RMU}.items()]
    ((title, pivot),) = robustness_tables(table(rows))
    assert title == "wmdp"
    assert pivot.header == (
        "unlearner", "Q rtn 8 bits", "Q rtn 4 bits", "R relearn 1 epoch", "R relearn 2 epochs", "score",
    )  # fmt: skip
    assert pivot.rows == (
        ("rmu", "1.00", "1.00", "1.00", "0.50", "0.83"),
        ("gd", "1.00", "0.50", "0.50", "0.40", "0.55"),
    )


def test_nothing_is_shown_without_a_model_that_never_knew() -> None:
    rows = [row(text, "wmdp", value) for text, value in {**ALONE, **GD}.items()]
    assert list(robustness_tables(table(rows))) == []

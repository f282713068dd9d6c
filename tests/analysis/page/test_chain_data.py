"""Which of two goes first, and what each method changes: the tables agree with the numbers that they turn."""

from __future__ import annotations

import pytest

from rayci.analysis.page.chain_data import chain_data
from tests.analysis.page.report_table import three_methods
from tests.analysis.synthetic_table import row, table

NAME = "ft × rtn × gd"


@pytest.mark.parametrize(("criterion", "worse"), [("edit_success", -0.2), ("wmdp", 0.1)])
def test_the_better_first_is_named_with_its_lead_whichever_way_is_better(criterion: str, worse: float) -> None:
    swaps = chain_data(table(three_methods(criterion, worse)), [criterion], [3], "area")[NAME][0]["swaps"]
    lead = {(ahead, behind): (by, shown) for ahead, behind, by, _, _, shown in swaps}
    by, shown = lead["rtn", "ft"]
    assert (by, shown) == (pytest.approx(abs(worse)), True)
    assert all(by >= 0 for by, _ in lead.values())
    assert all(low is None or low <= by <= high for _, _, by, low, high, _ in swaps)


def test_changes_add_up_from_the_untouched_model_to_the_mean_of_the_ends() -> None:
    changes = chain_data(table(three_methods("edit_success", -0.2)), ["edit_success"], [3], "area")[NAME][0]["changes"]
    change = {method: value for method, value, _, _ in changes["of"]}
    assert sum(change.values()) == pytest.approx(changes["to"] - changes["from"], abs=1e-4)
    assert change["rtn"] == pytest.approx(-0.1, abs=0.02)
    assert all(low <= value <= high for _, value, low, high in changes["of"])


def test_pairs_have_none() -> None:
    rows = [row("ft > gd", "mmlu", 0.5), row("gd > ft", "mmlu", 0.6)]
    assert chain_data(table(rows), ["mmlu"], [], "area") == {}

"""Designs of one order: the values after every stage and at the end are the answer."""

from __future__ import annotations

import pandas as pd
import pytest

from rayci import analysis
from rayci.errors import RequestError
from rayci.table import Row
from tests.analysis.synthetic_table import both_orders, row, table


def test_every_stage_of_a_chain_with_its_interval() -> None:
    rows = [row("", "mmlu", 0.6), row("gd", "mmlu", "out of memory")]
    for k in range(3):
        rows += [row("ft", "mmlu", 0.5 + k / 10, replicate=k), row("ft > gd", "mmlu", 0.4, replicate=k, final=False)]
        rows += [row("ft > gd > wanda@0.5", "mmlu", 0.3, replicate=k)]
    frame = analysis.final_values(table(rows))
    chain = frame[frame.composition == "ft > gd > wanda@0.5"].reset_index()
    assert chain.after.tolist() == ["untouched model", "ft", "ft > gd", "ft > gd > wanda@0.5"]
    assert chain.value.tolist() == pytest.approx([0.6, 0.6, 0.4, 0.3])
    assert chain.final.tolist() == [False, False, False, True]
    half = 4.302652729911275 * 0.1 / 3**0.5
    assert chain.loc[1, ["value_low", "value_high"]].tolist() == pytest.approx([0.6 - half, 0.6 + half])
    assert chain.interval_of[:2].tolist() == ["items", "replicates"]
    failed = frame[frame.composition == "gd"].iloc[-1]
    assert (pd.isna(failed.value), failed.reason) == (True, "out of memory")


def test_an_interval_ends_where_the_range_does() -> None:
    rows = [row("ft", "mmlu", value, replicate=k) for k, value in enumerate((1.0, 0.99, 0.9))]
    last = analysis.final_values(table(rows)).iloc[-1]
    assert last.value_high == 1.0 and last.value_low == pytest.approx(0.9633333 - 4.3026527 * 0.0550757 / 3**0.5)


def test_what_ran_in_both_orders_is_left_to_the_metrics() -> None:
    rows = [*both_orders("ft", "wanda", "mmlu", {0.5: 0.5}, {0.5: 0.4}), row("ft > wanda@0.6", "mmlu", 0.3)]
    assert set(analysis.final_values(table(rows)).composition) == {"ft > wanda@0.6"}
    assert analysis.final_values(table(both_orders("ft", "wanda", "mmlu", {0.5: 0.5}, {0.5: 0.4}))).empty


def test_several_models_are_refused() -> None:
    with pytest.raises(RequestError, match="2 models"):
        analysis.final_values(table([row("ft", "mmlu", 0.5), row("ft", "mmlu", 0.5, model="b", stage_fingerprint="b")]))


def test_one_measurement_has_the_interval_of_its_items() -> None:
    frame = analysis.final_values(table([row("gd", "wmdp", 0.3, n=100), row("gd", "perplexity", 7.0, stderr=0.5)]))
    last = frame[frame.final].set_index("criterion")
    assert set(last.interval_of) == {"items"}
    assert (last.value_low["wmdp"], last.value_high["wmdp"]) == pytest.approx((0.2189, 0.3958), abs=1e-4)  # Wilson
    assert last.value_high["perplexity"] == pytest.approx(7.0 + 1.959963984540054 * 0.5)


@pytest.mark.parametrize("rows", [[], [row("ft", "mmlu", 0.5)]], ids=["empty", "one method"])
def test_a_table_without_pairs_has_nothing_to_compare(rows: list[Row]) -> None:
    for function in (analysis.interactions, analysis.precedence, analysis.attribution, analysis.ranked_orders):
        assert function(table(rows)).empty
    assert analysis.wins(table(rows)).empty
    assert set(analysis.rules(table(rows)).answer) == {"undecided"}
    assert len(analysis.final_values(table(rows))) == 2 * len(rows)

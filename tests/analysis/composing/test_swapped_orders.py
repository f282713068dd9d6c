"""Precedence: permutations that differ by one swap, in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rayci import analysis
from rayci.item_values import Items
from rayci.table import Row
from tests.analysis.composing.test_item_readings import with_items
from tests.analysis.synthetic_table import both_orders, every_order, row, table

PLACES = {"ft": 1, "wanda@0.5": 10, "gd": 100}


def weighted(stage: tuple[str, ...]) -> float:
    """Later counts more: swapping x and y changes this by (weight y − weight x) × distance of their places."""
    return sum(PLACES[step] * place for place, step in enumerate(stage)) / 1000


def told(frame: pd.DataFrame, first: str, second: str) -> dict[str, Any]:
    chosen = frame[(frame["first"] == first) & (frame.second == second)]
    assert len(chosen) == 1
    return {key: None if pd.isna(value) else value for key, value in chosen.iloc[0].to_dict().items()}


def test_mean_over_the_three_pairs_that_a_swap_makes() -> None:
    frame = analysis.precedence(table(every_order(PLACES, "mmlu", weighted)))
    # x y z, z x y: neighbours, distance 1; x z y: distance 2
    row = told(frame, "ft", "gd")
    assert row["precedence"] == pytest.approx((100 - 1) * (1 + 1 + 2) / 3 / 1000)
    assert (row["better_first"], row["n_pairs"], row["pairs_asked"]) == ("ft", 3, 3)
    assert told(frame, "ft", "wanda")["precedence"] == pytest.approx(9 * 4 / 3 / 1000)
    assert len(frame) == 3


def test_lower_is_better_turns_the_winner_not_the_number() -> None:
    row = told(analysis.precedence(table(every_order(PLACES, "wmdp", weighted))), "ft", "gd")
    assert (row["precedence"], row["better_first"]) == (pytest.approx(0.132), "gd")


def test_closer_to_zero_counts_distances_where_lines_cross_zero() -> None:
    # ft first: 2γ − 1 on [0, 1], crossing zero: mean distance ½; wanda first: 1 throughout
    rows = both_orders("ft", "wanda", "privleak", {0.0: -1.0, 1.0: 1.0}, {0.0: 1.0, 1.0: 1.0})
    row = told(analysis.precedence(table(rows), size=2), "ft", "wanda")
    assert (row["precedence"], row["better_first"]) == (pytest.approx(0.5 - 1.0), "ft")


def test_of_two_it_is_the_gap_area_and_interval_included() -> None:
    rows: list[Row] = []
    for k, shift in enumerate((0.0, 0.05, 0.02)):
        first = {0.2: 0.9 - shift, 0.4: 0.5, 0.6: 0.1}
        rows += both_orders("ft", "wanda", "edit_success", first, {0.2: 0.6, 0.4: 0.6, 0.6: 0.6}, replicate=k)
    row, gap = told(analysis.precedence(table(rows), size=2), "ft", "wanda"), analysis.metrics(table(rows)).iloc[0]
    for end in ("", "_low", "_high", "_p", "_p_adjusted"):
        assert row[f"precedence{end}"] == pytest.approx(gap[f"gap{end}"])
    assert (row["interval_of"], row["n_replicates"]) == ("replicates", 3)


def test_orders_that_were_not_run_leave_their_pairs_out() -> None:
    rows = [entry for entry in every_order(PLACES, "mmlu", weighted) if entry.composition != "ft > gd > wanda@0.5"]
    row = told(analysis.precedence(table(rows)), "ft", "gd")
    assert (row["n_pairs"], row["precedence"]) == (2, pytest.approx(99 * (1 + 2) / 2 / 1000))
    few = table([row_of("ft > gd > wanda@0.5"), row_of("gd > wanda@0.5 > ft")])
    assert told(analysis.precedence(few), "ft", "gd")["reason"].startswith("no two permutations")


def row_of(chain: str) -> Row:
    return row(chain, "mmlu", 0.5)


def test_a_failed_order_decides_nothing() -> None:
    def broken(stage: tuple[str, ...]) -> float | str:
        return "diverged" if stage == ("gd", "ft", "wanda@0.5") else weighted(stage)

    frame = analysis.precedence(table(every_order(PLACES, "mmlu", broken)))
    assert frame.precedence.isna().all()
    assert set(frame.reason) == {"gd > ft > wanda@0.5: diverged"}


def test_equal_orders_have_no_better_first() -> None:
    frame = analysis.precedence(table(every_order(PLACES, "mmlu", lambda stage: len(stage) / 10)))
    assert np.allclose(frame.precedence.astype(float), 0.0)
    assert frame.better_first.isna().all()


def test_orders_that_were_measured_once_are_paired_by_their_items(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    items = [Items(tuple(map(float, draw.random(200) < share))) for share in (0.6, 0.4)]
    rows = [row(chain, "wmdp", own.mean) for chain, own in zip(("gd > rtn", "rtn > gd"), items, strict=True)]
    measured = told(analysis.precedence(with_items(rows, items, tmp_path / "items.parquet"), size=2), "rtn", "gd")
    differences = np.subtract(items[1].values, items[0].values)
    oracle = stats.ttest_1samp(differences, 0.0).confidence_interval()
    assert (measured["interval_of"], measured["n_replicates"], measured["better_first"]) == ("items", 1, "rtn")
    assert (measured["precedence"], measured["precedence_low"], measured["precedence_high"]) == pytest.approx(
        (differences.mean(), oracle.low, oracle.high)
    )
    assert told(analysis.precedence(table(rows), size=2), "rtn", "gd")["precedence_low"] is None

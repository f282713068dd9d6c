"""The bounded form and ε-composability: which γ count, and the share that passes."""

from __future__ import annotations

import pandas as pd
import pytest

from rayci import analysis
from rayci.errors import RequestError
from rayci.table import Row
from tests.analysis.synthetic_table import both_orders, row, table

GRID = (0.2, 0.4, 0.6)


def _rows(**fields: object) -> list[Row]:
    success = both_orders(
        "ft", "wanda", "edit_success", dict(zip(GRID, (0.9, 0.8, 0.2), strict=True)), dict.fromkeys(GRID, 0.9), **fields
    )
    mmlu = dict(zip(GRID, (0.62, 0.60, 0.40), strict=True))
    return success + both_orders("ft", "wanda", "mmlu", mmlu, dict.fromkeys(GRID, 0.61), **fields)


def test_only_strengths_that_keep_the_model_count() -> None:
    found = analysis.metrics(table([*_rows(), row("", "mmlu", 0.63)]), criteria=["edit_success"], within={"mmlu": 0.05})
    entry = found.iloc[0]
    assert (entry["n_points"], entry["points_asked"]) == (2, 3)
    # mmlu after ft > wanda falls from .60 at .4 to .40 at .6 and crosses .58 at .42
    assert (entry["kept_low"], entry["kept_high"]) == (pytest.approx(0.2), pytest.approx(0.42))
    assert entry["order_sensitivity"] == pytest.approx((0.2 * 0.05 + 0.02 * (0.1 + 0.16) / 2) / 0.22)
    expected = "left out at sparsity 0.6: mmlu after ft > wanda decays from 0.63 to 0.4, by more than 0.05"
    assert entry["reason"] == expected


def test_what_cannot_be_checked_does_not_count() -> None:
    rows = [entry for entry in _rows() if entry.criterion == "edit_success"]
    found = analysis.metrics(table([*rows, row("", "mmlu", 0.63)]), criteria=["edit_success"], within={"mmlu": 0.05})
    assert found.iloc[0]["n_points"] == 0
    assert "mmlu was not measured" in found.iloc[0]["reason"]


def test_unbounded_keeps_the_whole_range() -> None:
    entry = analysis.metrics(table(_rows()), criteria=["mmlu"]).iloc[0]
    assert (entry["kept_low"], entry["kept_high"]) == (0.2, 0.6)


def test_share_of_strengths_that_are_epsilon_composable() -> None:
    frame = table(_rows())
    plain = analysis.composable_share(frame, {"edit_success": 0.101})
    # the gap is .1 at .4 and .7 at .6: .101 a six-hundredth further
    assert plain.share.tolist() == pytest.approx([(0.2 + 0.2 / 600) / 0.4])
    assert plain.n_points.tolist() == [3]
    constrained = analysis.composable_share(frame, {"edit_success": 0.101, "mmlu": 0.005})
    # mmlu's curves cross between .2 and .4 and are within .005 for half of that
    assert constrained.share.tolist() == pytest.approx([0.25])


def test_share_joins_criteria_with_and_without_replicates() -> None:
    rows = [entry for k in (0, 1) for entry in _rows(replicate=k) if entry.criterion == "edit_success"]
    rows += [entry for entry in _rows() if entry.criterion == "mmlu"]
    found = analysis.composable_share(table(rows), {"edit_success": 0.101, "mmlu": 0.011}).iloc[0]
    assert found["n_replicates"] == 2
    assert found["share"] == pytest.approx((0.2 + 0.2 / 600) / 0.4)


def test_no_strength_counts_no_share() -> None:
    rows = both_orders("ft", "wanda", "mmlu", {0.5: "diverged"}, {0.5: 0.4})
    found = analysis.composable_share(table(rows), {"mmlu": 0.1}).iloc[0]
    assert pd.isna(found["share"])
    with pytest.raises(RequestError, match="ε"):
        analysis.composable_share(table(rows), {"mmlu": -0.1})

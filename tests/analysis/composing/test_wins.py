"""Wins: strictly best after rounding, within a category, ties and gaps counted as such."""

from __future__ import annotations

import pandas as pd

from rayci import analysis
from rayci.table import Row
from tests.analysis.synthetic_table import both_orders, table


def _wins(rows: list[Row], **options: object) -> pd.DataFrame:
    found = analysis.wins(table(rows), at=0.5, **options)  # type: ignore[arg-type]
    return found[(found.metric == "order_free_error") & (found.category == "pruners")].set_index("method")


def _pruners(wanda: float, sparsegpt: float, editor: str = "ft", **fields: object) -> list[Row]:
    rows = both_orders(editor, "wanda", "edit_success", {0.5: wanda}, {0.5: 0.1}, **fields)
    return rows + both_orders(editor, "sparsegpt", "edit_success", {0.5: sparsegpt}, {0.5: 0.1}, **fields)


def test_the_strictly_better_wins() -> None:
    found = _wins(_pruners(0.9, 0.8))
    assert found.wins.to_dict() == {"wanda": 1, "sparsegpt": 0}
    assert set(found["columns"]) == {1}


def test_equal_after_rounding_is_a_loss_for_both() -> None:
    assert _wins(_pruners(0.901, 0.899)).wins.tolist() == [0, 0]
    assert _wins(_pruners(0.901, 0.899), digits=3).wins.to_dict() == {"wanda": 1, "sparsegpt": 0}


def test_a_robust_win_stands_when_every_value_moves_by_half_a_printed_digit() -> None:
    assert _wins(_pruners(0.9, 0.885)).robust_wins.to_dict() == {"wanda": 1, "sparsegpt": 0}
    close = _wins(_pruners(0.9, 0.892))
    assert (close.wins.to_dict(), set(close.robust_wins)) == ({"wanda": 1, "sparsegpt": 0}, {0})


def test_a_method_that_lost_its_hard_end_does_not_win() -> None:
    rows = both_orders("ft", "wanda", "edit_success", {0.5: 0.9, 0.7: "diverged"}, {0.5: 0.9, 0.7: 0.1})
    rows += both_orders("ft", "sparsegpt", "edit_success", {0.5: 0.8, 0.7: 0.7}, {0.5: 0.8, 0.7: 0.7})
    counted = analysis.wins(table(rows), at="area")
    pruners = counted[(counted.metric == "order_free_error") & (counted.category == "pruners")]
    assert (set(pruners.wins), set(pruners.undecided)) == ({0}, {1})


def test_columns_add_up_over_partners() -> None:
    found = _wins(_pruners(0.9, 0.8) + _pruners(0.5, 0.6, "memit"))
    assert found.wins.tolist() == [1, 1]
    assert set(found["columns"]) == {2}


def test_a_missing_value_leaves_the_column_undecided() -> None:
    rows = _pruners(0.9, 0.8) + both_orders("memit", "wanda", "edit_success", {0.5: 0.9}, {0.5: 0.1})
    rows += both_orders("memit", "sparsegpt", "edit_success", {0.5: "diverged"}, {0.5: 0.1})
    found = _wins(rows)
    assert found.wins.to_dict() == {"wanda": 1, "sparsegpt": 0}
    assert set(found["columns"]) == {1}
    assert set(found.undecided) == {1}


def test_pruners_do_not_compete_with_quantisers() -> None:
    rows = both_orders("ft", "wanda", "edit_success", {0.5: 0.9}, {0.5: 0.1})
    rows += both_orders("ft", "rtn", "edit_success", {4: 0.8}, {4: 0.1})
    found = analysis.wins(table(rows), at={"sparsity": 0.5, "bits": 4})
    assert found.empty


def test_beyond_the_intervals() -> None:
    apart = [
        entry for k, shift in enumerate((0, 0.02, 0.04)) for entry in _pruners(0.9 + shift, 0.5 + shift, replicate=k)
    ]
    mixed = [e for k, (a, b) in enumerate(((0.9, 0.5), (0.4, 0.6), (0.8, 0.5))) for e in _pruners(a, b, replicate=k)]
    assert _wins(apart, beyond_intervals=True).wins.to_dict() == {"wanda": 1, "sparsegpt": 0}
    assert _wins(mixed, beyond_intervals=True).wins.tolist() == [0, 0]
    assert _wins(mixed).wins.to_dict() == {"wanda": 1, "sparsegpt": 0}
    assert set(_wins(_pruners(0.9, 0.8), beyond_intervals=True).undecided) == {1}

"""Wins: strictly best after rounding, within a category, ties and gaps counted as such."""

from __future__ import annotations

import pandas as pd

from rayci import analysis
from rayci.analysis.composing.win_counts import NO_UNITS
from rayci.table import Row
from tests.analysis.synthetic_table import both_orders, row, step, table


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


def test_number_formats_contend_among_themselves() -> None:
    """They have no bits to choose, so quantisers over bits would otherwise have no column in common with them."""
    rows = []
    for name, value in (("rtn", 0.9), ("awq", 0.8)):
        rows += both_orders("ft", name, "edit_success", {4: value}, {4: 0.1})
    for name, value in (("rtn", 0.5), ("gptq", 0.6)):
        ways = [step("ft"), step(f"{name}@4", {"grid": "nvfp4"})]
        rows += [row(order, "edit_success", value) for order in (ways, ways[::-1])]
    found = analysis.wins(table(rows))
    found = found[(found.metric == "order_free_error") & (found.partners == "edit")]
    assert dict(zip(zip(found.category, found.method, strict=True), found.wins, strict=True)) == {
        ("quantisers", "awq"): 0,
        ("quantisers", "rtn"): 1,
        ("quantisers to nvfp4", "gptq@nvfp4"): 1,
        ("quantisers to nvfp4", "rtn@nvfp4"): 0,
    }


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


def test_exact_unlearning_is_no_contestant() -> None:
    rows = [
        cell
        for unlearner, left in (("gd", 0.3), ("rmu", 0.4), ("retrain", 0.1))
        for cell in both_orders(unlearner, "wanda", "wmdp", {0.5: left}, {0.5: left})
    ]
    found = analysis.wins(table(rows), at=0.5)
    assert set(found.method) == {"gd", "rmu"}
    assert found[found.metric == "order_free_error"].set_index("method").wins.to_dict() == {"gd": 1, "rmu": 0}


def _batches(*values: tuple[float, float]) -> list[Row]:
    return [entry for k, (wanda, sparsegpt) in enumerate(values) for entry in _pruners(wanda, sparsegpt, replicate=k)]


def test_a_significant_win_is_paired_over_batches() -> None:
    # batches differ by more than methods do: only the paired differences, .02 throughout, tell them apart
    paired = _wins(_batches((0.9, 0.88), (0.5, 0.48), (0.7, 0.68)))
    assert paired.significant_wins.to_dict() == {"wanda": 1, "sparsegpt": 0}
    mixed = _wins(_batches((0.9, 0.5), (0.4, 0.6), (0.8, 0.5)))
    assert (mixed.wins.to_dict(), set(mixed.significant_wins)) == ({"wanda": 1, "sparsegpt": 0}, {0})


def test_significance_knows_no_rounding_and_ties_have_none() -> None:
    close = _wins(_batches((0.9, 0.899), (0.5, 0.499), (0.7, 0.699)))
    assert (set(close.wins), close.significant_wins.to_dict()) == ({0}, {"wanda": 1, "sparsegpt": 0})
    tied = _wins(_batches((0.9, 0.9), (0.5, 0.5), (0.7, 0.7)))
    assert set(tied.significant_wins) == {0}


def test_without_units_significance_is_null_and_says_why() -> None:
    alone = _wins(_pruners(0.9, 0.8))
    assert alone.significant_wins.isna().all()
    assert set(alone.reason) == {NO_UNITS}
    assert _wins(_batches((0.9, 0.8), (0.5, 0.4), (0.7, 0.6))).reason.isna().all()


def test_a_contest_is_read_where_all_its_methods_have_points() -> None:
    # rtn loses nothing at 8 bits, where awq was not asked for
    rows = both_orders("ft", "rtn", "edit_success", {2: 0.2, 4: 0.8, 8: 1.0}, {2: 0.2, 4: 0.8, 8: 1.0})
    rows += both_orders("ft", "awq", "edit_success", {2: 0.3, 4: 0.8}, {2: 0.3, 4: 0.8})
    counted = analysis.wins(table(rows), at="area")
    errors = counted[(counted.metric == "order_free_error") & (counted.category == "quantisers")].set_index("method")
    assert (errors.wins.to_dict(), set(errors.undecided)) == ({"awq": 1, "rtn": 0}, {0})

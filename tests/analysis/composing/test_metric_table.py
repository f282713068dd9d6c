"""From rows to the composability table: grids, replicates, settings, axes, refusals."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayci import analysis
from rayci.analysis.composing.metric_table import COLUMNS
from rayci.errors import RequestError
from rayci.kinds import Recompress
from tests.analysis.synthetic_table import both_orders, row, step, table

FIRST = {0.25: 0.9, 0.45: 0.6, 0.65: 0.2}
SECOND = {0.25: 0.95, 0.45: 0.9, 0.65: 0.8}


def _only(frame: pd.DataFrame) -> dict[str, Any]:
    assert len(frame) == 1
    return {key: None if pd.isna(value) else value for key, value in frame.iloc[0].to_dict().items()}


def test_first_columns_and_area_by_hand() -> None:
    frame = analysis.metrics(table(both_orders("ft", "wanda", "edit_success", FIRST, SECOND)))
    assert tuple(frame.columns[: len(COLUMNS)]) == COLUMNS
    found = _only(frame)
    # errors .05 .1 .2 and gaps .05 .3 .6 on an evenly spaced grid
    assert found["order_free_error"] == pytest.approx((0.075 + 0.15) / 2)
    assert found["order_sensitivity"] == pytest.approx((0.175 + 0.45) / 2)
    assert (found["n_points"], found["points_asked"], found["n_replicates"]) == (3, 3, 1)
    assert found["strength"] is None
    assert found["best_order"] == "wanda > ft"
    assert found["reason"] is None


def test_uneven_grids_are_weighted_by_their_distance() -> None:
    rows = both_orders("ft", "rtn", "edit_success", {2: 0.0, 3: 1.0, 8: 1.0}, {2: 0.0, 3: 1.0, 8: 1.0})
    assert _only(analysis.metrics(table(rows)))["order_free_error"] == pytest.approx(0.5 / 6)
    assert _only(analysis.metrics(table(rows), axis="gamma"))["order_free_error"] == pytest.approx(0.5)


def test_failed_points_shrink_the_grid_and_are_named() -> None:
    broken = {**FIRST, 0.65: "NaN loss"}
    found = _only(analysis.metrics(table(both_orders("ft", "wanda", "edit_success", broken, SECOND))))
    assert (found["n_points"], found["points_asked"]) == (2, 3)
    assert found["order_free_error"] == pytest.approx(0.075)
    assert found["reason"] == "ft > wanda at sparsity 0.65: NaN loss"


def test_a_point_that_only_one_order_has_does_not_count() -> None:
    found = _only(analysis.metrics(table(both_orders("ft", "wanda", "edit_success", FIRST, {0.25: 0.9, 0.45: 0.9}))))
    assert (found["n_points"], found["points_asked"]) == (2, 3)
    assert found["reason"] == "wanda > ft at sparsity 0.65: not in the table"


def test_an_order_that_never_ran_leaves_nothing() -> None:
    found = _only(analysis.metrics(table(both_orders("ft", "wanda", "edit_success", FIRST, {}))))
    assert found["order_free_error"] is None
    assert (found["n_points"], found["n_replicates"]) == (0, 0)
    assert found["reason"] == "wanda > ft: not in the table"


def test_pairs_without_strength_are_single_points() -> None:
    rows = [row("ft > gd", "wmdp", 0.3), row("gd > ft", "wmdp", 0.5)]
    for at in ("area", "published", 0.25):
        found = _only(analysis.metrics(table(rows), at=at))
        assert (found["order_free_error"], found["strength"], found["n_points"]) == (0.3, None, 1)
        assert found["order_sensitivity"] == pytest.approx(0.2)


def test_point_form() -> None:
    rows = both_orders("ft", "wanda", "edit_success", FIRST, SECOND)
    for at in (0.45, {"sparsity": 0.45}, {"wanda": 0.45}, "sparsity=0.45", "0.45"):
        found = _only(analysis.metrics(table(rows), at=at))
        assert (found["strength"], found["n_points"], found["points_asked"]) == (0.45, 1, 1)
        assert found["order_sensitivity"] == pytest.approx(0.3)
    missed = _only(analysis.metrics(table(rows), at=0.5))
    assert missed["reason"] == "sparsity 0.5 is not in the sweep of wanda: 0.25, 0.45, 0.65"
    assert missed["order_free_error"] is None


def test_null_replicates_join_every_replicate() -> None:
    # One order is measured per replicate, the other holds for all of them.
    rows = [row("wanda@0.5 > gd", "edit_success", 0.5)]
    rows += [row("gd > wanda@0.5", "edit_success", value, replicate=k) for k, value in enumerate((0.4, 0.6, 0.8))]
    found = _only(analysis.metrics(table(rows)))
    assert found["n_replicates"] == 3
    assert found["order_free_error"] == pytest.approx(0.4)
    assert found["order_sensitivity"] == pytest.approx(0.1)
    assert found["order_sensitivity_per_replicate"] == pytest.approx((0.1 + 0.1 + 0.3) / 3)
    assert found["interval_of"] == "replicates"


def test_seeds_are_averaged_within_a_batch_and_null_seeds_join() -> None:
    rows = [row("ft > wanda@0.5", "mmlu", 0.5, replicate=k) for k in (0, 1)]
    rows += [row("wanda@0.5 > ft", "mmlu", 0.6 + s / 5, replicate=k, seed=s) for k in (0, 1) for s in (0, 1)]
    found = _only(analysis.metrics(table(rows)))
    assert (found["n_replicates"], found["value_ji"]) == (2, pytest.approx(0.7))
    assert found["order_sensitivity_se"] == pytest.approx(0.0, abs=1e-12)


def test_seeds_are_the_unit_where_nothing_depends_on_a_batch() -> None:
    rows = [row(text, "mmlu", 0.5 + s / 10, seed=s) for text in ("gd > wanda@0.5", "wanda@0.5 > gd") for s in range(3)]
    found = _only(analysis.metrics(table(rows)))
    assert (found["n_replicates"], found["interval_of"]) == (3, "seeds")


def test_metrics_are_those_of_the_mean_curves() -> None:
    # The published estimand; what single replicates differ by stands beside it.
    rows = both_orders("ft", "wanda", "edit_success", {0.5: 0.2}, {0.5: 0.8}, replicate=0)
    rows += both_orders("ft", "wanda", "edit_success", {0.5: 0.8}, {0.5: 0.2}, replicate=1)
    found = _only(analysis.metrics(table(rows)))
    assert found["order_sensitivity"] == pytest.approx(0.0)
    assert found["order_sensitivity_per_replicate"] == pytest.approx(0.6)
    assert found["order_free_error"] == pytest.approx(0.5)
    assert found["best_order"] is None


def test_a_replicate_that_failed_leaves_bounds() -> None:
    rows = both_orders("ft", "wanda", "edit_success", {0.5: 0.2}, {0.5: 0.8}, replicate=0)
    rows += both_orders("ft", "wanda", "edit_success", {0.5: "out of memory"}, {0.5: 0.2}, replicate=1)
    found = _only(analysis.metrics(table(rows)))
    assert (found["n_points"], found["order_free_error"], found["verdict"]) == (0, None, "undecided")
    # ft > wanda is between .1 and .6 on average, the other order .5
    assert [found[f"order_free_error_bound_{end}"] for end in ("low", "high")] == pytest.approx([0.4, 0.5])
    assert [found[f"order_sensitivity_bound_{end}"] for end in ("low", "high")] == pytest.approx([0.0, 0.4])
    assert found["reason"] == "ft > wanda at sparsity 0.5: out of memory (1 of 2 replicates)"


def test_recompression_is_no_step_of_its_own_and_only_final_rows_count() -> None:
    rows = [
        row("ft > wanda@0.5", "edit_success", 0.4),
        row("wanda@0.5 > ft", "edit_success", 1.0, final=False),
        row("wanda@0.5 > ft > refit(wanda@0.5)", "edit_success", 0.5),
    ]
    found = _only(analysis.metrics(table(rows)))
    assert found["order_free_error"] == pytest.approx(0.5)
    assert found["order_sensitivity"] == pytest.approx(0.1)


def test_two_settings_of_one_method_do_not_mix() -> None:
    rows = []
    for group, value in ((64, 0.9), (128, 0.5)):
        awq = step("awq@4", {"group_size": group, "clip": True})
        rows += [row([step("ft"), awq], "mmlu", value), row([awq, step("ft")], "mmlu", value)]
    frame = analysis.metrics(table(rows))
    assert frame.method_j.tolist() == ["awq{group_size=128}", "awq{group_size=64}"]
    assert frame.order_free_error.tolist() == pytest.approx([0.5, 0.1])


def test_the_compressor_is_the_axis_and_other_strengths_are_keys() -> None:
    rows = []
    for steps in (10, 20):
        ft = step(f"ft@{steps}", strength_name="steps")
        for gamma in (0.2, 0.6):
            wanda = step(f"wanda@{gamma}")
            rows += [row([ft, wanda], "mmlu", steps / 20), row([wanda, ft], "mmlu", gamma)]
    assert analysis.metrics(table(rows)).method_i.tolist() == ["ft@10", "ft@20"]
    along = analysis.metrics(table(rows), along="ft")
    assert along.method_j.tolist() == ["wanda@0.2", "wanda@0.6"]
    assert along.points_asked.tolist() == [2, 2]


def test_infinite_in_both_orders_has_an_error_but_no_sensitivity() -> None:
    first, second = {0.2: 5.0, 0.6: math.inf}, {0.2: 7.0, 0.6: math.inf}
    found = _only(analysis.metrics(table(both_orders("ft", "wanda", "perplexity", first, second))))
    assert found["order_free_error"] == math.inf
    assert (found["sensitivity_points"], found["n_points"]) == (1, 2)
    assert found["order_sensitivity"] == pytest.approx(math.log(7 / 5))
    assert found["unit"] == "ln perplexity"
    assert "∞ − ∞" in found["reason"]


def test_no_top_leaves_the_sensitivity() -> None:
    found = _only(analysis.metrics(table(both_orders("ft", "wanda", "fluency", {0.5: 5.0}, {0.5: 6.0}))))
    assert (found["order_free_error"], found["order_sensitivity"]) == (None, 1.0)
    assert "no top" in found["reason"]


def test_average_bits_axis_is_the_workshops() -> None:
    rows = both_orders("ft", "rtn", "edit_success", {2: 0.5, 4: 0.9}, {2: 0.3, 4: 0.9})
    rows += both_orders("ft", "rtn", "avg_bits", {2: 2.25, 4: 4.25}, {2: 2.25, 4: 4.25})
    found = _only(analysis.metrics(table(rows), axis="avg_bits"))
    assert found["order_free_error"] == pytest.approx(2 * (0.5 + 0.1) / 2)
    assert found["order_sensitivity"] == pytest.approx(2 * 0.2 / 2)


def test_average_bits_that_depend_on_the_order_are_no_axis() -> None:
    rows = both_orders("ft", "rtn", "edit_success", {2: 0.5, 4: 0.9}, {2: 0.3, 4: 0.9})
    rows += both_orders("ft", "rtn", "avg_bits", {2: 2.25, 4: 4.25}, {2: 16, 4: 16})
    found = _only(analysis.metrics(table(rows), axis="avg_bits"))
    assert found["order_free_error"] is None
    assert "left out at bits 2: average bits differ between orders or replicates (2.25, 16)" in found["reason"]


def test_three_methods_use_every_permutation() -> None:
    texts = ["ft > wanda@0.5 > gd", "ft > gd > wanda@0.5", "wanda@0.5 > ft > gd"]
    texts += ["wanda@0.5 > gd > ft", "gd > ft > wanda@0.5", "gd > wanda@0.5 > ft"]
    rows = [row(text, "mmlu", value / 10) for value, text in enumerate(texts, start=1)]
    found = _only(analysis.metrics(table(rows), size=3))
    assert [found[name] for name in ("method_i", "method_j", "method_k")] == ["ft", "wanda", "gd"]
    assert found["order_free_error"] == pytest.approx(0.4)
    assert found["order_sensitivity"] == pytest.approx(0.5)
    assert found["best_order"] == "gd > wanda > ft"
    assert analysis.metrics(table(rows)).empty


def test_criteria_without_direction_are_left_out() -> None:
    rows = [row(text, name, 0.5) for text in ("ft > gd", "gd > ft") for name in ("avg_bits", "mmlu")]
    assert analysis.metrics(table(rows)).criterion.tolist() == ["mmlu"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"criteria": ["edit_sucess"]}, "edit_success"),
        ({"criteria": ["avg_bits"]}, "no better direction"),
        ({"axis": "gama"}, "gamma"),
        ({"at": "publshed"}, "published"),
        ({"at": math.nan}, "not a point"),
        ({"at": {"sparsty": 0.25}}, "sparsity"),
        ({"along": "ft"}, "wanda"),
        ({"size": 1}, "2 to 4"),
        ({"within": {"mmul": 0.05}}, "no criterion 'mmul'"),
        ({"within": {"edit_success": -1}}, "from 0 on"),
        ({"within": {"edit_success": 0.1}}, "untouched model has no value"),
    ],
)
def test_mistakes_say_what_is_allowed(arguments: dict[str, Any], hint: str) -> None:
    rows = [*both_orders("ft", "wanda", "edit_success", FIRST, SECOND), row("ft", "avg_bits", 16.0)]
    with pytest.raises(RequestError, match=hint):
        analysis.metrics(table(rows), **arguments)


def test_a_table_that_mixes_models_or_policies_is_refused() -> None:
    rows = both_orders("ft", "wanda", "edit_success", FIRST, SECOND)
    with pytest.raises(RequestError, match="2 models"):
        analysis.metrics(table([*rows, row("gd", "mmlu", 0.5, model="other")]))
    with pytest.raises(RequestError, match="2 re-compression policies"):
        analysis.metrics(table([*rows, row("gd", "mmlu", 0.5, recompress=Recompress.NEVER)]))


def test_a_row_that_two_sweeps_share_counts_once_and_must_agree() -> None:
    rows = [row("ft > gd", "mmlu", 0.5), row("gd > ft", "mmlu", 0.4)]
    again = row("ft > gd", "mmlu", 0.5, sweep_fingerprint="other")
    assert _only(analysis.metrics(table([*rows, again])))["n_replicates"] == 1
    with pytest.raises(RequestError, match="two results"):
        analysis.metrics(table([*rows, row("ft > gd", "mmlu", 0.6, sweep_fingerprint="other")]))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_relabelling_the_orders_changes_nothing(values: list[tuple[float, float]]) -> None:
    a = {index / 10: pair[0] for index, pair in enumerate(values)}
    b = {index / 10: pair[1] for index, pair in enumerate(values)}
    there = _only(analysis.metrics(table(both_orders("ft", "wanda", "wmdp", a, b))))
    back = _only(analysis.metrics(table(both_orders("ft", "wanda", "wmdp", b, a))))
    for metric in ("order_free_error", "order_sensitivity"):
        assert there[metric] == pytest.approx(back[metric], abs=1e-12)
        assert 0 <= there[metric] <= 1
    assert there["value_ij"] == back["value_ji"]
    assert there["gap"] == pytest.approx(-back["gap"])


def test_crossing_curves_have_the_area_between_them() -> None:
    rows = both_orders("ft", "wanda", "wmdp", {0.2: 0.0, 0.6: 1.0}, {0.2: 1.0, 0.6: 0.0})
    found = _only(analysis.metrics(table(rows)))
    assert (found["order_sensitivity"], found["order_free_error"]) == (pytest.approx(0.5), pytest.approx(0.25))
    assert found["gap"] == pytest.approx(0.0, abs=1e-12)


def _gaps(gaps: tuple[float, ...]) -> dict[str, Any]:
    rows = []
    for replicate, gap in enumerate(gaps):
        rows += both_orders("ft", "wanda", "edit_success", {0.5: 0.5 + gap}, {0.5: 0.5}, replicate=replicate)
    return _only(analysis.metrics(table(rows)))


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ((0.30, 0.31, 0.29), "matters"),
        ((0.001, -0.002, 0.001), "does_not_matter"),
        ((0.3, -0.1, 0.2), "not_shown"),
        ((0.3, 0.3), "not_shown"),
    ],
)
def test_what_a_gap_shows(gaps: tuple[float, ...], verdict: str) -> None:
    found = _gaps(gaps)
    assert found["verdict"] == verdict
    assert found["gap"] == pytest.approx(sum(gaps) / len(gaps))
    assert (found["gap_p"] is None) == (len(gaps) < 3)

"""Six orders of three methods, and the middle of a sweep: values by order, both ends, and what is shown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from scipy import stats

from rayci import analysis
from rayci.table import Row
from tests.analysis.synthetic_table import both_orders, row, table

METHODS = ("ft", "rtn", "gd")


def six(values: Mapping[str, float], noise: float, replicates: int = 5) -> list[Row]:
    """`ft > rtn > gd` …: the value of an order, alternately a little more and less; .5 where none is given."""
    return [
        row(" > ".join(order), "edit_success", values.get(" > ".join(order), 0.5) + noise * (-1) ** k, replicate=k)
        for order in itertools.permutations(METHODS)
        for k in range(replicates)
    ]


def test_every_order_has_a_column_and_both_ends_are_named() -> None:
    frame = analysis.metrics(table(six({"gd > rtn > ft": 0.9, "ft > gd > rtn": 0.1}, 0.0)), size=3)
    (cell,) = frame.to_dict("records")
    assert (cell["method_i"], cell["method_j"], cell["method_k"]) == ("ft", "rtn", "gd")
    assert cell["value_kji"] == 0.9 and cell["value_ikj"] == 0.1 and cell["value_ijk"] == 0.5
    assert (cell["best_order"], cell["worst_order"]) == ("gd > rtn > ft", "ft > gd > rtn")
    assert cell["order_sensitivity"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("values", "noise", "verdict"),
    [
        ({"gd > rtn > ft": 0.9}, 0.0, "matters"),
        ({"gd > rtn > ft": 0.51}, 0.0, "matters"),  # a gap without noise is shown, however small
        ({}, 0.001, "does_not_matter"),
    ],
)
def test_what_six_orders_show(values: Mapping[str, float], noise: float, verdict: str) -> None:
    assert list(analysis.metrics(table(six(values, noise)), size=3)["verdict"]) == [verdict]


def test_p_is_the_smallest_of_any_two_orders_times_fifteen() -> None:
    rows = [r for r in six({}, 0.0) if r.composition != "gd > rtn > ft"]
    gaps = (0.3, 0.1, 0.2, 0.25, 0.15)
    rows += [row("gd > rtn > ft", "edit_success", 0.5 + gap, replicate=k) for k, gap in enumerate(gaps)]
    (p,) = analysis.metrics(table(rows), size=3)["gap_p"]
    assert p == pytest.approx(15 * stats.ttest_1samp(gaps, 0.0).pvalue)


def test_the_middle_of_each_methods_sweep() -> None:
    rows = both_orders("ft", "wanda", "mmlu", {0.25: 0.9, 0.45: 0.8, 0.65: 0.7}, {0.25: 0.9, 0.45: 0.9, 0.65: 0.9})
    rows += both_orders("ft", "rtn", "mmlu", {2: 0.1, 3: 0.2, 4: 0.3, 8: 0.4}, {2: 0.1, 3: 0.2, 4: 0.5, 8: 0.4})
    frame = analysis.metrics(table(rows), at="middle")
    assert dict(zip(frame["method_j"], frame["strength"], strict=True)) == {"rtn": 4.0, "wanda": 0.45}
    assert dict(zip(frame["method_j"], frame["value_ji"], strict=True)) == {"rtn": 0.5, "wanda": 0.9}


def test_a_method_that_does_not_run_at_the_middle_says_so() -> None:
    rows = both_orders("ft", "rtn", "mmlu", {2: 0.1, 4: 0.3, 8: 0.4}, {2: 0.1, 4: 0.5, 8: 0.4})
    rows += both_orders("memit", "rtn", "mmlu", {2: 0.1}, {2: 0.1})
    frame = analysis.metrics(table(rows), at="middle")
    assert list(frame["reason"].astype(object).where(frame["reason"].notna(), None)) == [
        None,
        "bits 4 is not in the sweep of rtn: 2",
    ]


def lines(criterion: str, ends: Mapping[str, tuple[float, float]], rest: float) -> list[Row]:
    """Straight lines over γ from 0 to 1 for some orders of three methods; all others stay at one value."""
    rows = []
    for order, gamma in itertools.product(itertools.permutations(("ft", "wanda", "gd")), (0, 1)):
        value = ends.get(" > ".join(order), (rest, rest))[gamma]
        rows.append(row(" > ".join(order).replace("wanda", f"wanda@{gamma}"), criterion, value))
    return rows


def test_three_crossing_orders_in_closed_form() -> None:
    # γ, 1 − γ and .7: the best of them has the area .7 · .4 + .85 · .6, the worst ¼
    ends = {"ft > wanda > gd": (0.0, 1.0), "wanda > ft > gd": (1.0, 0.0)}
    (cell,) = analysis.metrics(table(lines("edit_success", ends, 0.7)), size=3).to_dict("records")
    assert cell["order_free_error"] == pytest.approx(1 - 0.79)
    assert cell["order_sensitivity"] == pytest.approx(0.79 - 0.25)


def test_three_orders_closer_to_zero_in_closed_form() -> None:
    # the nearest to zero of 2γ − 1, 1 − γ and ¾: ¾ up to ⅛, then 1 − 2γ up to ½, 2γ − 1 up to ⅔, 1 − γ to the end
    ends = {"ft > wanda > gd": (-1.0, 1.0), "wanda > ft > gd": (1.0, 0.0), "gd > ft > wanda": (0.75, 0.75)}
    (cell,) = analysis.metrics(table(lines("privleak", ends, 1.0)), size=3).to_dict("records")
    assert cell["order_free_error"] == pytest.approx(3 / 4 / 8 + 3 / 8 * 3 / 8 + 1 / 3 / 12 + 1 / 3 / 6)
    # the highest is 1 throughout, the lowest 2γ − 1 up to ⅔ and 1 − γ after it
    assert cell["order_sensitivity"] == pytest.approx(1 + 2 / 9 - 1 / 18)


def test_the_best_order_is_closest_to_zero_all_along_the_curve() -> None:
    # 2γ − 1 has the mean 0, but is ½ away from zero on average
    held = table(both_orders("gd", "wanda", "privleak", {0: -1.0, 1: 1.0}, {0: 0.3, 1: 0.3}))
    (cell,) = analysis.metrics(held).to_dict("records")
    assert (cell["best_order"], cell["worst_order"]) == ("wanda > gd", "gd > wanda")
    (compared,) = analysis.which_order(held, at="area").compared[2]
    assert (compared.best, compared.worst) == (pytest.approx(0.3), pytest.approx(0.0))

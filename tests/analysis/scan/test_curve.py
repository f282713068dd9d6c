"""Curves: what is kept, what is joined, what is told apart."""

from __future__ import annotations

import pytest

from rayci import analysis
from rayci.analysis.scan.curve import Curve, Point
from rayci.errors import RequestError
from tests.analysis.synthetic_table import both_orders, row, step, table


def _named(curves: list[Curve], name: str) -> list[Curve]:
    return [curve for curve in curves if curve.name == name]


def test_missing_and_failed_points_stay_with_their_reasons() -> None:
    rows = both_orders("ft", "wanda", "mmlu", {0.25: 0.5, 0.5: "out of memory"}, {0.25: 0.4, 0.5: 0.3, 0.75: 0.2})
    first = _named(analysis.curves(table(rows)), "ft > wanda")[0]
    assert first.points == (
        Point(0.25, 0.5, None),
        Point(0.5, None, "out of memory"),
        Point(0.75, None, "not in the table"),
    )
    assert first.axis is not None
    assert first.axis.strength_name == "sparsity"


def test_one_curve_per_order_and_replicate_and_singles_too() -> None:
    rows = [entry for k in (0, 1) for entry in both_orders("ft", "wanda", "mmlu", {0.5: 0.5}, {0.5: 0.4}, replicate=k)]
    rows += [row("wanda@0.5", "mmlu", 0.6), row("ft", "mmlu", 0.9, replicate=0), row("", "mmlu", 1.0)]
    found = analysis.curves(table(rows))
    assert [(curve.name, curve.replicate) for curve in found] == [
        ("ft", 0),
        ("wanda", None),
        ("ft > wanda", 0),
        ("wanda > ft", 0),
        ("ft > wanda", 1),
        ("wanda > ft", 1),
    ]


def test_pairs_are_sorted_by_kind_whatever_the_order() -> None:
    rows = [row("rmu > wanda@0.5", "mmlu", 0.5), row("gd > ft", "mmlu", 0.5), row("sparsegpt@0.5 > ft", "mmlu", 0.5)]
    pairs = {" × ".join(variant.label for variant in curve.pair) for curve in analysis.curves(table(rows))}
    assert pairs == {"wanda × rmu", "ft × gd", "ft × sparsegpt"}


def test_semi_structured_sparsity_is_another_variant() -> None:
    plain, pattern = step("wanda@0.5", {"pattern": None}), step("wanda@0.5", {"pattern": "2:4"})
    rows = [row([step("ft"), plain], "mmlu", 0.5), row([step("ft"), pattern], "mmlu", 0.4)]
    assert sorted(curve.name for curve in analysis.curves(table(rows))) == ["ft > wanda", "ft > wanda{pattern=2:4}"]


def test_a_number_format_is_a_method_of_its_own_beside_the_curve_over_bits() -> None:
    """It has bits, as the row says, but no other bits to run at; settings of other grids do not name it."""
    whole = [step(f"rtn@{bits}", {"group_size": 128}) for bits in (4, 8)]
    formats = [step("rtn@4", {"grid": name, "group_size": size}) for name, size in (("nvfp4", 16), ("nf4", 64))]
    rows = [row([step("ft"), quantiser], "mmlu", 0.5) for quantiser in (*whole, *formats)]
    found = {curve.name: curve for curve in analysis.curves(table(rows))}
    assert {name: [point.strength for point in curve.points] for name, curve in found.items()} == {
        "ft > rtn": [4, 8],
        "ft > rtn@nvfp4": [None],
        "ft > rtn@nf4": [None],
    }
    assert found["ft > rtn@nf4"].axis is None
    assert {curve.pair[1].category for curve in found.values()} == {"quantisers"}


def test_a_plug_ins_own_grid_leaves_its_bits_a_choice() -> None:
    rows = [row([step("ft"), step(f"rtn@{bits}", {"grid": "log"})], "mmlu", bits / 10) for bits in (3, 4)]
    (curve,) = analysis.curves(table(rows))
    assert [point.strength for point in curve.points] == [3, 4]


def test_the_same_method_twice_has_no_axis() -> None:
    rows = [row("wanda@0.25 > wanda@0.5", "mmlu", 0.5)]
    found = analysis.curves(table(rows))
    assert [curve.name for curve in found] == ["wanda@0.25 > wanda@0.5"]
    assert found[0].axis is None


def test_criteria_can_be_chosen() -> None:
    rows = [row("ft", "mmlu", 0.5), row("ft", "wmdp", 0.5)]
    assert {curve.criterion for curve in analysis.curves(table(rows), ["wmdp"])} == {"wmdp"}
    with pytest.raises(RequestError, match="'wmpd' is not in the table") as caught:
        analysis.curves(table(rows), ["wmpd"])
    assert caught.value.hint == "wmdp"


def test_of_many_steps_the_orders_that_ran_alone_are_counted() -> None:
    batches = [step("ft", {"batch": batch}) for batch in range(7)]
    rows = [row(batches, "mmlu", 0.5), row([*batches[1:], batches[0]], "mmlu", 0.4), row(batches[:2], "mmlu", 0.6)]
    found = analysis.curves(table(rows))
    assert sorted((len(curve.order), curve.points[0].value) for curve in found) == [(2, 0.6), (7, 0.4), (7, 0.5)]
    assert set(analysis.ranked_orders(table(rows))["orders_asked"]) == {2}
    assert not len(analysis.precedence(table(rows)))

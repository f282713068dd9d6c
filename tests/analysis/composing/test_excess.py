"""What composing adds to what each method does alone, by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from rayci import analysis
from rayci.errors import RequestError
from rayci.table import Row
from tests.analysis.synthetic_table import both_orders, row, table


def _only(rows: list[Row], **options: Any) -> dict[str, Any]:
    frame = analysis.interactions(table(rows), **options)
    assert len(frame) == 1
    return {key: None if pd.isna(value) else value for key, value in frame.iloc[0].to_dict().items()}


def _rows(gammas: dict[float, tuple[float, float, float]], **fields: Any) -> list[Row]:
    """Edit success .9 after ft alone and .1 before; by γ: after wanda, after ft > wanda, after wanda > ft."""
    rows = [row("", "edit_success", 0.1), row("ft", "edit_success", 0.9, **fields)]
    for gamma, (single, ij, ji) in gammas.items():
        rows += [row(f"wanda@{gamma:g}", "edit_success", single)]
        rows += both_orders("ft", "wanda", "edit_success", {gamma: ij}, {gamma: ji}, **fields)
    return rows


def test_at_one_point() -> None:
    told = _only(_rows({0.5: (0.05, 0.6, 0.8)}), at=0.5)
    assert [told[f"value_{name}"] for name in ("none", "i", "j", "ij", "ji")] == [0.1, 0.9, 0.05, 0.6, 0.8]
    assert (told["excess_ij"], told["excess_ji"]) == (pytest.approx(0.3), pytest.approx(0.1))
    assert told["interaction_ij"] == pytest.approx(0.6 - 0.9 - 0.05 + 0.1)
    assert (told["better_single"], told["n_points"], told["reason"]) == ("ft", 1, None)


def test_the_better_single_is_chosen_where_the_curves_cross() -> None:
    # utility after wanda falls from 1 to .6, after ft it is .8: the better of them has area (.8 + .9) / 2
    rows = [row("", "mmlu", 1.0), row("ft", "mmlu", 0.8), row("wanda@0.2", "mmlu", 1.0), row("wanda@0.6", "mmlu", 0.6)]
    rows += both_orders("ft", "wanda", "mmlu", {0.2: 0.5, 0.6: 0.5}, {0.2: 0.7, 0.6: 0.5})
    told = _only(rows)
    assert told["excess_ij"] == pytest.approx(0.85 - 0.5)
    assert told["excess_ji"] == pytest.approx(0.85 - 0.6)
    assert told["interaction_ij"] == pytest.approx(0.5 - 0.8 - 0.8 + 1.0)
    assert told["better_single"] is None  # areas .8 and .8


@pytest.mark.parametrize("criterion", ["mmlu", "wmdp", "privleak"])
def test_a_finer_grid_of_the_same_lines_changes_nothing(criterion: str) -> None:
    def on(grid: tuple[float, ...]) -> dict[str, Any]:
        def line(start: float, end: float) -> dict[float, float]:
            return {gamma: start + (gamma - 0.2) / 0.4 * (end - start) for gamma in grid}

        rows = [row("", criterion, 1.0), row("ft", criterion, 0.3)]
        rows += [row(f"wanda@{gamma:g}", criterion, value) for gamma, value in line(0.8, -0.4).items()]
        return _only(rows + both_orders("ft", "wanda", criterion, line(-0.5, 0.9), line(0.7, 0.1)))

    coarse, fine = on((0.2, 0.6)), on((0.2, 0.3, 0.35, 0.6))
    for column in ("value_ij", "excess_ij", "excess_ji", "interaction_ij", "interaction_ji"):
        assert coarse[column] == pytest.approx(fine[column])


def test_closer_to_zero_is_better_on_either_side() -> None:
    rows = [row("", "privleak", -60.0), row("gd", "privleak", 20.0), row("wanda@0.5", "privleak", -50.0)]
    rows += both_orders("gd", "wanda", "privleak", {0.5: -30.0}, {0.5: 10.0})
    told = _only(rows)
    names = ("excess_ij", "excess_ji") if told["method_i"] == "gd" else ("excess_ji", "excess_ij")
    assert [told[name] for name in names] == pytest.approx([10.0, -10.0])
    assert told["better_single"] == "gd"


def test_perplexity_is_compared_as_its_logarithm() -> None:
    rows = [row(text, "perplexity", value) for text, value in (("", 5.0), ("ft", 6.0), ("wanda@0.5", 10.0))]
    told = _only([*rows, *both_orders("ft", "wanda", "perplexity", {0.5: 12.0}, {0.5: math.inf})])
    assert told["interaction_ij"] == pytest.approx(0.0, abs=1e-12)
    assert told["excess_ij"] == pytest.approx(math.log(2))
    assert (told["excess_ji"], told["interaction_scale"]) == (math.inf, "ln perplexity")


def test_logit_moves_a_share_by_half_an_item() -> None:
    told = _only(_rows({0.5: (0.0, 0.5, 0.9)}), scale="logit")
    odds = [math.log((50 * share + 0.5) / (50 - 50 * share + 0.5)) for share in (0.5, 0.9, 0.0, 0.1)]
    assert told["interaction_ij"] == pytest.approx(odds[0] - odds[1] - odds[2] + odds[3])
    assert told["value_j"] == 0.0
    assert told["interaction_scale"] == "logit"


def test_without_a_number_of_items_an_end_of_the_range_has_no_logit() -> None:
    told = _only(_rows({0.3: (0.05, 0.5, 0.9), 0.5: (0.0, 0.5, 0.9)}, n=None), scale="logit")
    assert (told["n_points"], told["interaction_points"]) == (2, 2)  # wanda's n is known
    rows = [row("", "mmlu", 0.6, n=None), row("ft", "mmlu", 0.6, n=None), row("wanda@0.5", "mmlu", 0.0, n=None)]
    told = _only([*rows, *both_orders("ft", "wanda", "mmlu", {0.5: 0.1}, {0.5: 0.2}, n=None)], scale="logit")
    assert (told["excess_ij"], told["interaction_ij"]) == (pytest.approx(0.5), None)
    assert told["reason"] == "wanda@0.5: no value on this scale"


def test_intervals_are_over_edit_batches() -> None:
    rows = [entry for k in range(3) for entry in _rows({0.5: (0.05, 0.6 + k / 100, 0.8)}, replicate=k)]
    told = _only([*{(r.chain, r.replicate): r for r in rows}.values()])
    half = 4.302652729911275 * 0.01 / math.sqrt(3)
    assert told["interaction_ij"] == pytest.approx(0.61 - 0.9 - 0.05 + 0.1)
    assert (told["interaction_ij_low"], told["interaction_ij_high"]) == pytest.approx((-0.24 - half, -0.24 + half))
    assert (told["interval_of"], told["n_replicates"]) == ("replicates", 3)
    assert told["excess_ji_low"] == pytest.approx(0.1)


def test_a_single_that_is_missing_leaves_no_number_and_says_so() -> None:
    rows = [entry for entry in _rows({0.5: (0.05, 0.6, 0.8)}) if entry.composition != "ft"]
    told = _only(rows)
    assert (told["excess_ij"], told["n_points"], told["points_asked"]) == (None, 0, 1)
    assert told["reason"] == "ft: not in the table"


@pytest.mark.parametrize("function", ["interactions", "precedence", "attribution"])
def test_a_strength_that_was_not_swept_leaves_no_number_and_says_so(function: str) -> None:
    options = {"size": 2} if function == "precedence" else {}
    frame = getattr(analysis, function)(table(_rows({0.5: (0.05, 0.6, 0.8)})), at="published", **options)
    assert set(frame.reason) == {"the sweep has no such strength"}
    assert (set(frame.n_points), set(frame.strength)) == ({0}, {0.25})


def test_one_order_alone_has_its_own_numbers() -> None:
    rows = [entry for entry in _rows({0.5: (0.05, 0.6, 0.8)}) if entry.composition != "wanda@0.5 > ft"]
    told = _only(rows)
    assert (told["excess_ij"], told["value_ji"], told["reason"]) == (pytest.approx(0.3), None, None)


def test_unknown_scales_are_refused() -> None:
    with pytest.raises(RequestError, match="plain, logit"):
        analysis.interactions(table(_rows({0.5: (0.05, 0.6, 0.8)})), scale="log")

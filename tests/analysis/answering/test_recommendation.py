"""Recommendations on tables that are worked by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rayci import analysis
from rayci.analysis.answering.recommendation import Recommendation
from rayci.analysis.answering.recommendation_table import document, pivot, records, sentences
from rayci.errors import RequestError
from rayci.table import ResultTable, Row
from tests.analysis.synthetic_table import row, table

NOISE = (-0.01, 0.0, 0.01)


def _rows(composition: str, bits: float, **means: float) -> list[Row]:
    """Three edit batches: every mean, a hundredth less, and one more."""
    values = [("avg_bits", (bits,) * 3), *((name, [mean + noise for noise in NOISE]) for name, mean in means.items())]
    return [row(composition, name, value, replicate=k) for name, by in values for k, value in enumerate(by)]


TABLE = table(
    [
        *_rows("ft > rtn@3", 3.0, edit_success=0.30, wmdp=0.20),
        *_rows("ft > rtn@4", 4.0, edit_success=0.80, wmdp=0.25),
        *_rows("rtn@4 > ft", 4.0, edit_success=0.95, wmdp=0.35),
        *_rows("ft > rtn@8", 8.0, edit_success=0.96, wmdp=0.28),
        *_rows("ft", 16.0, edit_success=0.97, wmdp=0.29),
    ]
)


def _names(options: object) -> list[str]:
    return [option.chain.composition for option in options]  # type: ignore[attr-defined]


def _told(*needs: str, table: ResultTable = TABLE, **wanted: str) -> Recommendation:
    return analysis.recommend(table, needs, **wanted)


def test_those_that_are_shown_come_first() -> None:
    told = _told("wmdp<=0.30", "edit_success>=0.7", minimize="avg_bits")
    # half an interval is 4.303 · .01 / √3 = .0248: .28 and .29 may be above .30
    assert _names(told.options) == ["ft > rtn@4", "ft > rtn@8", "ft"]
    assert [option.shown for option in told.options] == [True, False, False]
    assert _names(told.other_orders) == ["rtn@4 > ft"]
    assert (told.units, told.interval_of) == (3, "replicates")


def test_the_pareto_set_by_hand() -> None:
    told = _told("wmdp<=0.30", "edit_success>=0.7", minimize="avg_bits")
    assert sorted(_names(told.pareto)) == ["ft", "ft > rtn@3", "ft > rtn@4", "ft > rtn@8", "rtn@4 > ft"]
    dear = _rows("memit > rtn@8", 8.0, edit_success=0.90, wmdp=0.28)
    beaten = table([*dear, *_rows("ft > rtn@8", 8.0, edit_success=0.96, wmdp=0.28)])
    assert _names(_told("wmdp<=0.9", "edit_success>=0.1", table=beaten, minimize="avg_bits").pareto) == ["ft > rtn@8"]


def test_of_chains_that_cost_the_same_one_that_nothing_dominates_comes_first() -> None:
    rows = [*_rows("rtn@4", 4.0, wmdp=0.4), *_rows("gd > rtn@4", 4.0, wmdp=0.2)]
    assert _names(_told("wmdp<=0.5", table=table(rows), minimize="avg_bits").options) == ["gd > rtn@4", "rtn@4"]


def test_strengths_between_are_whole_where_the_sweep_is() -> None:
    # of ft > rtn, edit success is .80 + .04 (bits − 4) from 4 to 8: .90 at 6.5 bits, so at 7 whole ones
    told = _told("edit_success>=0.9", "wmdp<=0.3", minimize="avg_bits")
    assert _names(told.options)[0] == "ft > rtn@8"
    (between,) = told.between
    assert between.composition == "ft > rtn@7"
    assert between.values == pytest.approx({"edit_success": 0.92, "wmdp": 0.2725, "avg_bits": 7.0})


def test_strengths_between_are_cut_where_the_line_crosses_the_need() -> None:
    sweep = {0.25: (0.95, 12.0), 0.45: (0.90, 9.0), 0.65: (0.70, 6.0)}
    rows = [r for gamma, (s, bits) in sweep.items() for r in _rows(f"wanda@{gamma} > ft", bits, edit_success=s)]
    (between,) = _told("edit_success>=0.8", table=table(rows), minimize="avg_bits").between
    assert between.composition == "wanda@0.55 > ft"
    assert between.values == pytest.approx({"edit_success": 0.8, "avg_bits": 7.5})
    # nothing between is better where the best end of every segment was measured
    assert _told("edit_success>=0.9", table=table(rows), maximize="avg_bits").between == []


def test_the_size_of_a_criterion_has_a_corner_between_strengths() -> None:
    rows = [r for g, leak in ((0.2, -20.0), (0.6, 60.0)) for r in _rows(f"wanda@{g} > gd", 16 - 16 * g, privleak=leak)]
    (between,) = _told(table=table(rows), minimize="abs(privleak)").between
    assert between.composition == "wanda@0.3 > gd"
    assert between.values == pytest.approx({"abs(privleak)": 0.0}, abs=1e-9)


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        (["wmdp<=0.1"], "nearest, ft > rtn@3: wmdp is 0.20, which misses wmdp<=0.1 by 0.10"),
        (
            ["wmdp<=0.2", "edit_success>=0.9"],
            "nearest, ft > rtn@8: wmdp is 0.28, which misses wmdp<=0.2 by 0.08",
        ),
        (["avg_bits<=2"], "nearest, ft > rtn@3: avg_bits is 3.00, which misses avg_bits<=2 by 1.00"),
    ],
)
def test_a_need_that_no_chain_meets_names_the_nearest(needs: list[str], said: str) -> None:
    with pytest.raises(RequestError, match=r"no chain meets .* not even in the mean") as refusal:
        _told(*needs, minimize="avg_bits")
    assert said in str(refusal.value)


def test_chains_that_cannot_be_judged_are_named() -> None:
    lost = [row("ft > rtn@2", "edit_success", "diverged", replicate=0), row("ft > rtn@2", "wmdp", 0.1, replicate=0)]
    rows = [*lost, *_rows("ft", 16.0, edit_success=0.97, wmdp=0.29)]
    told = _told("edit_success>=0.5", table=table(rows), minimize="wmdp")
    assert told.lost == {"ft > rtn@2": "edit_success: diverged"}
    assert "Not judged (edit_success: diverged): ft > rtn@2" in pivot(told).notes
    with pytest.raises(RequestError, match="none of 1 chains has every value"):
        _told("edit_success>=0.5", table=table(lost), minimize="wmdp")


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"minimize": "avg_bits", "maximize": "wmdp"}, "one of --minimize and --maximize"),
        ({"minimize": "privleak"}, "no criterion 'privleak'"),
        ({}, "no criterion of utility to choose by"),
    ],
)
def test_what_is_wanted_must_be_clear(wanted: Mapping[str, str], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        _told("wmdp<=0.3", **wanted)


def test_general_utility_is_wanted_where_nothing_is_said() -> None:
    rows = [row("rtn@4", "mmlu", 0.5), row("rtn@8", "mmlu", 0.7), row("", "mmlu", 0.9)]
    told = _told(table=table(rows))
    assert (_names(told.options), told.objective.minimize) == (["rtn@8", "rtn@4"], False)
    assert told.interval_of is None and told.command() == "rayci apply tiny rtn@8 --out DIR"


def test_text_without_needs() -> None:
    told = _told(minimize="avg_bits")
    assert sentences(told)[:2] == [
        "ft > rtn@3: avg_bits 3.00, the lowest of 5 measured.",
        "Probability that it is the best: 1.00 (10000 draws over 3 edit batches).",
    ]
    assert pivot(told).rows[0][0] == "All" and pivot(told).header == ("chain", "avg_bits", "P(best)")


def test_text() -> None:
    told = _told("wmdp<=0.30", "edit_success>=0.7", minimize="avg_bits")
    said = sentences(told)
    assert said[0] == (
        "ft > rtn@4: avg_bits 4.00, the only chain that meets wmdp<=0.3 and edit_success>=0.7, of 5 measured."
    )
    assert said[1] == "The whole 95 % intervals meet the needs. 2 more do in the mean only."
    assert said[3] == (
        "In the order rtn@4 > ft: wmdp 0.35 rather than 0.25, edit_success 0.95 rather than 0.80, the same avg_bits;"
        " it misses wmdp<=0.3."
    )
    assert ("  ft > rtn@4", "0.25 [0.23, 0.27]", "0.80 [0.78, 0.82]", "4.00", "1.00", "1.00") in pivot(told).rows
    assert told.command("runs/x").startswith("rayci apply --run runs/x --stage ")
    by_chain = {record["chain"]: record for record in records(told)}
    assert [by_chain[name]["meets"] for name in ("ft > rtn@4", "ft", "rtn@4 > ft")] == ["shown", "in the mean", "no"]
    assert by_chain["rtn@4 > ft"]["other_order"] and document(told, None)["build"] == "ft > rtn@4"

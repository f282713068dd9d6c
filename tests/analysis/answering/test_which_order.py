"""In which order: the words and the table that a person reads, from small tables worked by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from rayci import analysis
from rayci.analysis.answering.order_tables import gaps, pivots
from rayci.errors import RequestError
from rayci.table import ResultTable, Row
from tests.analysis.synthetic_table import both_orders, row, table

NOISE = (-0.01, 0.0, 0.01)


def _pair(better: float, worse: float, criterion: str = "edit_success", pruner: str = "wanda") -> list[Row]:
    """Three edit batches of ft and a pruner at .45; pruning first is worth `better`, editing first `worse`."""
    rows = []
    for replicate, noise in enumerate(NOISE):
        gap = better - worse + noise / 2
        rows += both_orders("ft", pruner, criterion, {0.45: worse}, {0.45: worse + gap}, replicate=replicate)
    return rows


def _cells(read: ResultTable, **options: bool) -> list[tuple[str, ...]]:
    return [row for pivot in pivots(analysis.which_order(read), **options).values() for row in pivot.rows]


def test_the_answer_in_words() -> None:
    rows = [row("", "mmlu", 0.9), *_pair(0.8, 0.5), *_pair(0.85, 0.8, "mmlu")]
    assert analysis.which_order(table(rows)).sentences == [
        "Order matters for 1 of 1 pair at the middle of each sweep:",
        "ft × wanda @ 0.45: prune before you edit (edit_success 0.80, else 0.50),"
        " which costs 0.05 of mmlu (0.10 the other way).",
    ]


def test_the_table_has_the_order_both_values_the_difference_and_the_cost() -> None:
    rows = [row("", "mmlu", 0.9), *_pair(0.8, 0.5), *_pair(0.85, 0.8, "mmlu")]
    (pivot,) = pivots(analysis.which_order(table(rows))).values()
    assert pivot.header == ("methods", "better order", "best | else", "by", "matters", "mmlu lost")
    assert pivot.rows == (
        ("ft × wanda @ 0.45", "", "", "", "", ""),
        ("  edit success", "wanda > ft", "0.80 | 0.50", "0.30", "yes", "0.05 | 0.10"),
        ("  mmlu", "wanda > ft", "0.85 | 0.80", "0.05", "yes", ""),
    )


def test_the_wide_table_has_intervals() -> None:
    (pivot,) = pivots(analysis.which_order(table(_pair(0.8, 0.5))), wide=True).values()
    line = dict(zip(pivot.header, pivot.rows[1], strict=True))
    assert (line["95 % interval"], line["n"], line["over"]) == ("[0.29, 0.31]", "3", "batches")


def test_what_does_not_matter_shares_a_line_and_is_said() -> None:
    rows = [*_pair(0.5, 0.501), *_pair(0.7, 0.701, "mmlu")]
    assert _cells(table(rows))[1:] == [("  edit success, mmlu", "either", "", "", "no", "")]
    assert analysis.which_order(table(rows)).sentences[1] == "It is shown not to matter for ft × wanda @ 0.45."


def test_what_is_seen_and_not_shown_is_told_as_that() -> None:
    rows = both_orders("ft", "wanda", "edit_success", {0.45: 0.2}, {0.45: 0.9})
    assert analysis.which_order(table(rows)).sentences == [
        "Order is shown to matter for none of 1 pair at the middle of each sweep.",
        "The largest difference seen: ft × wanda @ 0.45, prune before you edit (edit_success 0.90, else 0.20).",
        "No difference is shown for ft × wanda @ 0.45: it takes three edit batches or seeds to tell.",
    ]
    assert _cells(table(rows))[1] == ("  edit success", "wanda > ft", "0.90 | 0.20", "0.70", "unclear")


def test_criteria_that_want_different_orders() -> None:
    rows: list[Row] = []
    for replicate, noise in enumerate(NOISE):
        for first, last, success, hazard in (("ft", "gd", 0.4, 0.2), ("gd", "ft", 0.9, 0.6)):
            rows.append(row(f"{first} > {last}", "edit_success", success + noise, replicate=replicate))
            rows.append(row(f"{first} > {last}", "wmdp", hazard - noise, replicate=replicate))
    (_, advice) = analysis.which_order(table(rows)).sentences
    assert advice == (
        "ft × gd: unlearn before you edit (edit_success 0.90, else 0.40); but ft > gd for wmdp (0.20, else 0.60)."
    )


def test_lost_points_are_undecided_and_the_reason_is_told() -> None:
    rows = [r for r in _pair(0.8, 0.5) if r.replicate != 2]
    rows += both_orders("ft", "wanda", "edit_success", {0.45: "out of memory"}, {0.45: 0.8}, replicate=2)
    answer = analysis.which_order(table(rows))
    assert answer.sentences[1] == "Points are missing that could tell for ft × wanda @ 0.45."
    assert gaps(answer) == [
        "ft × wanda @ 0.45: ft > wanda at sparsity 0.45: out of memory (1 of 3 replicates) [edit_success]"
    ]


def test_three_methods_have_a_best_and_a_worst_order() -> None:
    rows = []
    for order in itertools.permutations(("ft", "rtn@4", "gd")):
        value = {"gd > rtn@4 > ft": 0.9, "ft > gd > rtn@4": 0.1}.get(" > ".join(order), 0.5)
        rows += [row(" > ".join(order), "edit_success", value + noise, replicate=k) for k, noise in enumerate(NOISE)]
    answer = analysis.which_order(table(rows))
    assert answer.sentences[1] == (
        "ft × rtn × gd @ 4: gd > rtn > ft is best, ft > gd > rtn worst (edit_success 0.90, else 0.10)."
    )
    pivot, first = pivots(answer).values()
    assert pivot.header[:5] == ("methods", "best order", "worst order", "best | else", "by")
    assert pivot.rows[1][1:5] == ("gd > rtn > ft", "ft > gd > rtn", "0.90 | 0.10", "0.80")
    # each twice worth .4 and once nothing, of the three ways in which the third method stands beside the two
    assert first.rows[1:] == (
        ("  edit success", "rtn before ft", "0.27", "[0.27, 0.27]", "yes"),
        ("  edit success", "gd before ft", "0.27", "[0.27, 0.27]", "yes"),
    )
    assert first.notes[1] == "not shown to be more than noise: 1 (--wide)."


def test_a_sweep_of_one_order_shows_what_chains_end_with() -> None:
    rows = [row("", "wmdp", 0.9), row("gd", "wmdp", 0.3, seed=0), row("gd", "wmdp", 0.3, seed=1)]
    rows += [row("gd > rtn@4", "wmdp", value, seed=k) for k, value in enumerate((0.4, 0.5, 0.6))]
    answer = analysis.which_order(table(rows))
    assert answer.sentences == []
    (pivot,) = pivots(answer).values()
    assert pivot.header == ("chain", "wmdp")
    assert pivot.rows == (("untouched", "0.90 ± 0.09"), ("gd", "0.30"), ("gd > rtn@4", "0.50 ± 0.25"))
    assert gaps(answer) == ["Only some orders ran of rtn × gd @ 4: nothing to compare."]


def test_beside_a_single_order_stand_its_single_methods_and_no_compared_pair() -> None:
    rows = [
        row(text, "mmlu", 0.5) for text in ("", "ft", "gd", "wanda@0.5", "ft > rtn@4 > gd", "ft > rtn@4", "rtn@4 > ft")
    ]
    endings = analysis.which_order(table(rows)).endings
    assert {chain.composition for chain in endings} == {"", "ft", "gd", "ft > rtn@4 > gd"}


def test_a_table_with_one_method_only_shows_it() -> None:
    answer = analysis.which_order(table([row("", "mmlu", 0.9), row("rtn@4", "mmlu", 0.8), row("rtn@8", "mmlu", 0.9)]))
    assert answer.sentences == []
    assert [row[0] for row in _cells(table([row("rtn@4", "mmlu", 0.8)]))] == ["rtn@4"]


@pytest.mark.parametrize("at", ["middle", "area", "0.45", "sparsity=0.45", "wanda=0.25", "published"])
@pytest.mark.parametrize("sizes", [None, (2,)])
def test_no_place_and_no_size_drops_a_cell_silently(at: str, sizes: Sequence[int] | None) -> None:
    rows = [*_pair(0.8, 0.5), *_pair(0.85, 0.8, "mmlu")]
    rows += both_orders("ft", "rtn", "edit_success", {4: 0.3}, {4: 0.4})
    rows += both_orders("ft", "rtn", "mmlu", {4: "diverged"}, {4: "diverged"})
    answer = analysis.which_order(table(rows), at=at, sizes=sizes)
    told = {(row.name.split(" @ ")[0], row.criterion) for row in answer.compared[2]}
    untold = {(row.name.split(" @ ")[0], row.criterion) for row in answer.apart}
    assert told | untold == set(itertools.product(("ft × wanda", "ft × rtn"), ("edit_success", "mmlu")))
    assert all(row.reason for row in answer.apart)
    assert all(any(row.name in note and row.criterion in note for note in gaps(answer)) for row in answer.apart)


def test_a_size_that_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match="no sets of 3 methods"):
        analysis.which_order(table(_pair(0.8, 0.5)), sizes=[3])

"""One table beside another: differences with intervals, ranks, ordering rules, and what cannot be compared."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rayci import analysis
from rayci.analysis.scan.published import published_text
from rayci.errors import RequestError
from rayci.kinds import Direction, Scale
from rayci.table import Row, from_rows, write_part
from tests.analysis.synthetic_table import SCALES, both_orders, row, table


def printed_rows() -> Iterator[Row]:
    """The rows that a sweep would have that measured what the published CSV prints."""
    for record in csv.DictReader(published_text("llama3_8b").splitlines()):
        steps = [(record["first"], record["first_gamma"]), (record["second"], record["second_gamma"])]
        chain = " > ".join(method.lower() + (f"@{gamma}" if gamma else "") for method, gamma in steps if method)
        for criterion in SCALES.keys() & record.keys():
            text = record[criterion].strip()
            yield row(chain, criterion, float(text) if text else "not legible", model="llama")


@pytest.fixture(scope="module")
def run_of_the_paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "table"
    folder.mkdir()
    write_part(list(printed_rows()), SCALES, folder / "part.parquet")
    return folder.parent


def test_a_run_with_the_published_numbers_does_not_differ_from_them(run_of_the_paper: Path) -> None:
    told = analysis.compare(analysis.load(run_of_the_paper), analysis.load("published:llama3_8b"))
    assert len(told.differences) > 2000 and set(told.differences.criterion) >= {"edit_success", "wmdp", "wikitext_ppl"}
    assert set(told.differences.difference.dropna()) == {0.0}
    infinite = told.differences[told.differences.difference.isna()]
    assert np.isinf(infinite.here.astype(float)).all() and set(infinite.reason) == {"infinite on both sides"}
    assert (told.only_here, told.only_there) == ((), ())
    for correlation in ("spearman", "kendall"):
        assert told.correlations[correlation].tolist() == pytest.approx([1.0] * 7)
    assert told.rules.agree.all()
    assert told.rules.statistic_here.dropna().tolist() == told.rules.statistic_there.dropna().tolist() != []


def _batches(values: tuple[float, ...], **fields: str) -> list[Row]:
    return [row("ft", "mmlu", value, replicate=k, **fields) for k, value in enumerate(values)]


def test_the_interval_of_a_difference_is_welch_s() -> None:
    here, there = (0.5, 0.6, 0.7, 0.5), (0.4, 0.41, 0.39)
    told = analysis.compare(table(_batches(here)), table(_batches(there, model="other"))).differences.iloc[0]
    oracle = stats.ttest_ind(here, there, equal_var=False)
    assert (told.composition, told.n_here, told.n_there) == ("ft", 4, 3)
    assert (told.interval_of_here, told.interval_of_there) == ("replicates", "replicates")
    assert told.difference == pytest.approx(np.mean(here) - np.mean(there))
    assert told.difference_p == told.difference_p_adjusted == pytest.approx(oracle.pvalue)
    interval = oracle.confidence_interval()
    assert (told.difference_low, told.difference_high) == pytest.approx((interval.low, interval.high))


def test_a_printed_number_is_exact_and_two_of_them_have_no_interval() -> None:
    here, printed = table(_batches((0.5, 0.6, 0.7))), table([row("ft", "mmlu", 0.55, n=None)])
    told = analysis.compare(here, printed).differences.iloc[0]
    alone = stats.ttest_1samp((0.5, 0.6, 0.7), 0.55).confidence_interval()
    assert (told.interval_of_here, told.isna()["interval_of_there"]) == ("replicates", True)
    assert (told.difference_low, told.difference_high) == pytest.approx((alone.low - 0.55, alone.high - 0.55))
    assert analysis.compare(printed, here).differences.interval_of_there[0] == "replicates"
    bare = analysis.compare(printed, printed).differences.iloc[0]
    assert bare[["difference_low", "difference_p", "interval_of_here", "interval_of_there"]].isna().all()


def test_what_was_measured_once_has_the_noise_of_its_items() -> None:
    here, there = (table([row("gd", "perplexity", value, n=400, stderr=0.3)]) for value in (7.0, 6.0))
    told = analysis.compare(here, there).differences.iloc[0]
    half = 1.959963984540054 * 0.3 * 2**0.5
    assert (told.interval_of_here, told.interval_of_there) == ("items", "items")
    assert (told.difference_low, told.difference_high) == pytest.approx((1 - half, 1 + half))
    assert told.difference_p == pytest.approx(2 * stats.norm.sf(1 / (0.3 * 2**0.5)))


def test_percentages_are_told_in_shares() -> None:
    percent = {"mmlu": Scale(Direction.HIGHER, 0.0, 100.0)}
    there = from_rows(_batches((40.0, 41.0, 39.0)), percent)
    told = analysis.compare(table(_batches((0.5, 0.6, 0.7))), there).differences.iloc[0]
    same = analysis.compare(table(_batches((0.5, 0.6, 0.7))), table(_batches((0.4, 0.41, 0.39)))).differences.iloc[0]
    for column in ("there", "difference", "difference_low", "difference_p"):
        assert told[column] == pytest.approx(same[column])


def test_ranks_of_common_cells_alone() -> None:
    def ranked(values: tuple[float, ...]) -> list[Row]:
        names = ("", "ft", "memit", "lora")
        return [row(name, "mmlu", value) for name, value in zip(names, values, strict=False)]

    here = table([*ranked((0.1, 0.2, 0.3, 0.4)), row("gd", "mmlu", 0.9)])
    told = analysis.compare(here, table([*ranked((0.1, 0.2, 0.4, 0.3)), row("rmu", "mmlu", 0.9)]))
    assert told.correlations[["n", "spearman", "kendall"]].to_numpy().tolist() == [
        [4, pytest.approx(0.8), pytest.approx(2 / 3)]
    ]
    assert (told.only_here, told.only_there) == (("gd",), ("rmu",))
    few = analysis.compare(here, table(ranked((0.1, 0.2)))).correlations.iloc[0]
    assert few.reason == "fewer than 3 common cells" and few.isna()["spearman"]
    flat = analysis.compare(here, table(ranked((0.1, 0.1, 0.1, 0.1)))).correlations.iloc[0]
    assert flat.reason == "all cells of one side are equal"


def test_which_rules_hold_here_and_there() -> None:
    falling, rising = {0.2: 0.9, 0.4: 0.5, 0.6: 0.1}, {0.2: 0.1, 0.4: 0.5, 0.6: 0.9}
    sides = []
    for values in (falling, rising):
        rows = both_orders("ft", "wanda", "edit_success", values, values)
        sides.append(table(rows + both_orders("memit", "wanda", "edit_success", values, values)))
    first = analysis.compare(*sides).rules.iloc[0]
    assert (first.here, first.there, first.agree) == ("yes", "no", False)
    assert (first.statistic_here, first.statistic_there, first.n_here) == (1.0, -1.0, 4)


def test_nothing_in_common_says_what_each_has() -> None:
    with pytest.raises(RequestError) as error:
        analysis.compare(table([row("ft", "mmlu", 0.5)]), table([row("rmu", "wmdp", 0.5)]))
    assert "the first has ft by mmlu; the second has rmu by wmdp" in str(error.value)
    with pytest.raises(RequestError, match="nothing that the two tables have in common has a value in both"):
        analysis.compare(table([row("ft", "mmlu", 0.5)]), table([row("ft", "mmlu", "diverged")]))


def test_several_models_are_refused_with_the_table_that_has_them() -> None:
    one = table([row("ft", "mmlu", 0.5)])
    two = table([row("ft", "mmlu", 0.5), row("ft", "mmlu", 0.5, model="b", stage_fingerprint="b")])
    with pytest.raises(RequestError, match="2 models\n  at: the second table"):
        analysis.compare(one, two)

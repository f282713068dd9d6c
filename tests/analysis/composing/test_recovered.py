"""What comes back of what was unlearned: by hand, in printed numbers, and where there is nothing to say."""

from __future__ import annotations

import pandas as pd
import pytest

from rayci import analysis
from rayci.analysis.composing.recovered import COLUMNS
from rayci.errors import RequestError
from rayci.table import Row
from tests.analysis.synthetic_table import row, step, table

WITH_UTILITY = ["gd", "ga_klr", "npo_gdr", "npo_klr"]
"""The paper's methods that train on retain text too."""


@pytest.fixture(scope="module")
def printed() -> pd.DataFrame:
    return analysis.load("published:unlearning_quantization").recovered()


def chain(untouched: float, unlearned: float, quantised: float, both: float, seed: int | None = None) -> list[Row]:
    """wmdp after nothing, gd, rtn and gd > rtn; what draws nothing has no seed."""
    return [
        row("", "wmdp", untouched),
        row("rtn@4", "wmdp", quantised),
        row("gd", "wmdp", unlearned, seed=seed),
        row("gd > rtn@4", "wmdp", both, seed=seed),
    ]


def only(frame: pd.DataFrame) -> pd.Series:
    assert len(frame) == 1
    return frame.iloc[0]


def test_half_of_what_was_lost_comes_back() -> None:
    frame = analysis.recovered(table(chain(1.0, 0.2, 0.9, 0.55)))
    assert list(frame.columns) == list(COLUMNS)
    cell = only(frame)
    assert (cell.unlearner, cell.then, cell.strength) == ("gd", "rtn", 4.0)
    assert cell.recovered == pytest.approx(0.5)
    assert not cell.relearns


def test_forgetting_more_is_less_than_nothing_back() -> None:
    assert only(analysis.recovered(table(chain(1.0, 0.2, 0.9, 0.1)))).recovered == pytest.approx(-0.1 / 0.7)


def test_training_further_brings_back_too_from_the_least_on() -> None:
    alone = [row("", "wmdp", 1.0), row("gd", "wmdp", 0.2), row("finetune@1", "wmdp", 0.9)]
    rows = [row(text, "wmdp", 1.0) for text in ("relearn@0.5", "relearn@2")]
    rows += [
        row("gd > relearn@2", "wmdp", 0.8),
        row("gd > relearn@0.5", "wmdp", 0.4),
        row("gd > finetune@1", "wmdp", 0.2),
    ]
    frame = analysis.recovered(table([*alone, *rows]))
    assert list(zip(frame.then, frame.strength, frame.relearns, strict=True)) == [
        ("finetune", 1.0, False), ("relearn", 0.5, True), ("relearn", 2.0, True),
    ]  # fmt: skip
    assert frame.recovered.tolist() == pytest.approx([0.0, 0.25, 0.75])


def test_a_strength_of_many_digits_is_no_part_of_the_name() -> None:
    name, taught = "relearn@0.3333333333333333{batch=4}", step("relearn@0.3333333333333333")
    rows = [row([taught], "wmdp", 1.0, composition=name), row("gd", "wmdp", 0.2)]
    rows += [row([step("gd"), taught], "wmdp", 0.6, composition=f"gd > {name}")]
    assert only(analysis.recovered(table(rows))).then == "relearn{batch=4}"


@pytest.mark.parametrize(("quantised", "says"), [(0.219, False), (0.221, True), (0.1, False)])
def test_below_a_fiftieth_of_the_range_there_is_nothing_to_bring_back(quantised: float, says: bool) -> None:
    cell = only(analysis.recovered(table(chain(1.0, 0.2, quantised, 0.2))))
    assert pd.notna(cell.recovered) == says
    assert ("nothing to bring back" in str(cell.reason)) != says


def test_seeds_stand_in_their_order_and_share_what_draws_nothing() -> None:
    of_seeds = [chain(1.0, 0.2, 0.9, 0.3 + 0.1 * seed, seed) for seed in (2, 0, 1)]
    rows = [*of_seeds[0][:2], *(one for own in of_seeds for one in own[2:])]
    frame = analysis.recovered(table(rows))
    assert frame.seed.tolist() == [0, 1, 2]
    assert frame.unlearned_then.tolist() == pytest.approx([0.3, 0.4, 0.5])
    assert frame.then_alone.tolist() == [0.9, 0.9, 0.9]


def test_a_failure_is_a_reason_and_no_number() -> None:
    rows = [*chain(1.0, 0.2, 0.9, 0.3)[:3], row("gd > rtn@4", "wmdp", "out of memory")]
    cell = only(analysis.recovered(table(rows)))
    assert pd.isna(cell.recovered)
    assert cell.reason == "gd > rtn@4: out of memory"


def test_other_chains_and_other_criteria_say_nothing() -> None:
    rows = [row("rtn@4 > gd", "wmdp", 0.3), row("gd > wanda@0.5", "wmdp", 0.3), row("gd > rtn@4", "mmlu", 0.5)]
    assert analysis.recovered(table(rows)).empty
    with pytest.raises(RequestError, match="does not say what was forgotten"):
        analysis.recovered(table(rows), ["mmlu"])


def test_printed_numbers_of_one_method(printed: pd.DataFrame) -> None:
    news = printed[printed.model.str.contains("NEWS") & (printed.unlearner == "ga_klr") & (printed.then == "rtn")]
    shares = news.set_index(["criterion", "strength"]).recovered
    assert shares["verbmem", 4] == pytest.approx((33.8 - 14.1) / (34.2 - 14.1))
    assert shares["knowmem_forget", 4] == pytest.approx((50.9 - 27.1) / (54.4 - 27.1))
    assert shares["knowmem_forget", 8] == pytest.approx((29.0 - 27.1) / (66.4 - 27.1))


def test_what_the_papers_abstract_says(printed: pd.DataFrame) -> None:
    """21 % of the knowledge is retained in full precision, 83 % at 4 bits: 23 % and 86 % of a model of equal precision.

    The abstract gives no formula; this mean over data sets, both criteria and the methods with a utility constraint
    is the nearest that its tables give.
    """
    chosen = printed[printed.unlearner.isin(WITH_UTILITY) & (printed.then == "rtn") & (printed.strength == 4)]
    assert len(chosen) == 16
    assert float((chosen.unlearned / chosen.untouched).mean()) == pytest.approx(0.21, abs=0.03)
    assert float((chosen.unlearned_then / chosen.then_alone).mean()) == pytest.approx(0.83, abs=0.04)


def test_four_bits_bring_back_what_eight_do_not_and_sure_prevents(printed: pd.DataFrame) -> None:
    rounded = printed[printed.then == "rtn"]
    plain, sure = rounded[rounded.unlearner.isin(WITH_UTILITY)], rounded[rounded.unlearner.str.startswith("sure")]
    at = plain.groupby("strength").recovered.mean()
    assert at[4] > 0.7
    assert abs(at[8]) < 0.05
    assert float(sure.recovered.max()) < 0.3


def test_what_a_table_does_not_print_is_named(printed: pd.DataFrame) -> None:
    rwku = printed[printed.model == "RWKU's model"]
    assert rwku.recovered.isna().all()
    assert set(rwku.reason) == {"rtn@4: not in the table"}

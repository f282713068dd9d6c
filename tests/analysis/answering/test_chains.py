"""What chains end with: units, seeds within them, intervals, and what is missing."""

from __future__ import annotations

import pytest
from scipy import stats

from rayci.analysis.answering.chains import Chain, Ending, chains
from rayci.analysis.statistics.intervals import of_items
from rayci.errors import RequestError
from tests.analysis.synthetic_table import row, step, table


def ending(*rows: object, criterion: str = "wmdp") -> Ending:
    (chain,) = chains(table(rows))  # type: ignore[arg-type]
    return chain.endings[criterion]


def test_seeds_are_averaged_within_a_batch_and_batches_are_the_unit() -> None:
    values = {(0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.5, (1, 1): 0.5, (2, 0): 0.6, (2, 1): 0.6}
    held = ending(*(row("ft", "wmdp", value, replicate=k, seed=s) for (k, s), value in values.items()))
    assert held.by_unit == {0: pytest.approx(0.2), 1: 0.5, 2: pytest.approx(0.6)}
    low, high = stats.t.interval(0.95, 2, 1.3 / 3, stats.sem([0.2, 0.5, 0.6]))
    assert (held.summary.low, held.summary.high) == (pytest.approx(low), pytest.approx(high))


def test_one_measurement_has_the_interval_of_its_items() -> None:
    held = ending(row("gd", "wmdp", 0.5, n=100))
    assert (held.summary.low, held.summary.high) == (pytest.approx(0.4038, abs=1e-4), pytest.approx(0.5962, abs=1e-4))


def test_items_that_all_agree_still_have_an_interval() -> None:
    assert of_items(1.0, 0.0, 50, share=True).low == pytest.approx(0.9287, abs=1e-4)  # Wilson: n / (n + z²)
    assert of_items(4.0, 0.1, 50, share=False).high == pytest.approx(4.196, abs=1e-4)
    assert of_items(4.0, None, 50, share=False).high is None


def test_what_was_measured_on_the_weights_has_no_interval() -> None:
    held = ending(row("rtn@4", "avg_bits", 4.25), criterion="avg_bits")
    assert (held.mean, held.summary.low) == (4.25, None)


def test_a_lost_unit_leaves_no_mean_and_says_why() -> None:
    rows = [row("ft", "wmdp", value, replicate=k) for k, value in enumerate((0.1, "diverged", 0.2))]
    held = ending(*rows)
    assert (held.mean, held.reason) == (None, "diverged (1 of 3 replicates)")


def test_orders_of_the_same_steps_have_the_same_members() -> None:
    held = {chain.composition: chain for chain in chains(table(_both()))}
    assert held["ft > rtn@4"].members == held["rtn@4 > ft"].members != held["rtn@8 > ft"].members


def test_chains_of_one_text_and_different_settings_stay_apart() -> None:
    made = [[step("gd", {"lr": lr}), step("rtn@4", {"size": 64})] for lr in (0.1, 0.2)]
    held = {chain.composition: chain for chain in chains(table([row(steps, "wmdp", 0.2) for steps in made]))}
    assert list(held) == ["gd{lr=0.1} > rtn@4", "gd{lr=0.2} > rtn@4"]
    assert len({chain.stage for chain in held.values()}) == 2


def test_the_stage_is_that_of_the_first_edit_batch() -> None:
    rows = [
        row("ft", "wmdp", 0.1, replicate=k, stage_fingerprint=mark) for k, mark in ((2, "aa"), (0, "zz"), (1, "mm"))
    ]
    (chain,) = chains(table(rows))
    assert chain.stage == "zz"


def test_two_models_are_refused() -> None:
    with pytest.raises(RequestError, match="2 models"):
        chains(table([row("ft", "wmdp", 0.1), row("gd", "wmdp", 0.1, model="other")]))


def _both() -> list[Chain]:
    return [row(text, "wmdp", 0.1) for text in ("ft > rtn@4", "rtn@4 > ft", "rtn@8 > ft")]  # type: ignore[misc]

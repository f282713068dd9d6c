"""Values after every stage as arrays: units join, seeds average, re-compression is a stage of its own."""

from __future__ import annotations

import numpy as np
import pytest

from rayci.analysis.scan.chain_values import Chains
from rayci.analysis.scan.curve import ABSENT
from tests.analysis.synthetic_table import row, step, table

ROWS = [
    row("", "mmlu", 0.6),
    row("wanda@0.5", "mmlu", 0.5, seed=0),
    row("wanda@0.5", "mmlu", 0.3, seed=1),
    row("ft", "mmlu", 0.9, replicate=0),
    row("ft", "mmlu", "diverged", replicate=1),
    *(row("wanda@0.5 > ft", "mmlu", 0.4 + k / 10 + s / 5, k, s, final=False) for k in range(2) for s in range(2)),
    *(row("wanda@0.5 > ft > refit(wanda@0.5)", "mmlu", 0.4, k, s) for k in range(2) for s in range(2)),
]


@pytest.fixture(scope="module")
def chains() -> Chains:
    return Chains(table(ROWS))


def test_a_composition_ends_where_its_policy_says(chains: Chains) -> None:
    names = {chains.name(composition): chains.name(chain) for composition, chain in chains.finals.items()}
    assert names["wanda@0.5 > ft"] == "wanda@0.5 > ft > refit(wanda@0.5)"
    assert len(names) == 4 and len(chains.places) == 5


def test_units_are_batches_with_seeds_averaged_inside_and_lost_ones_stay(chains: Chains) -> None:
    whole = next(composition for composition in chains.finals if len(composition) == 2)
    read = chains.read("mmlu").of(chains.along(whole))
    assert read.units == "replicates"
    assert read.values == pytest.approx(np.array([[0.6, 0.4, 0.5, 0.4], [0.6, 0.4, 0.6, 0.4]]))
    edit = next(composition for composition in chains.finals if chains.name(composition) == "ft")
    held = chains.read("mmlu")
    assert np.isnan(held.of([chains.ending(edit)]).values[:, 0]).tolist() == [False, True]
    assert held.why(chains.ending(edit)) == "diverged"


def test_units_are_what_the_chains_together_depend_on(chains: Chains) -> None:
    held = chains.read("mmlu")
    single = next(composition for composition in chains.finals if chains.name(composition) == "wanda@0.5")
    assert held.of([chains.ending(())]).units is None
    both = held.of([chains.ending(()), chains.ending(single)])
    assert (both.units, both.values.tolist()) == ("seeds", [[0.6, 0.5], [0.6, 0.3]])


def test_what_was_not_asked_for_or_not_measured_is_a_hole(chains: Chains) -> None:
    absent = chains.ending(next(whole for whole in chains.finals if len(whole) == 2)[::-1])
    held = chains.read("mmlu")
    assert np.isnan(held.of([absent]).values).all()
    assert held.why(absent) == ABSENT
    assert np.isnan(chains.read("wmdp").of([chains.ending(())]).values).all()


def test_two_settings_of_a_method_are_two_chains() -> None:
    rows = [row([step("awq@4", {"group_size": size})], "mmlu", size / 256) for size in (64, 128)]
    held = Chains(table(rows))
    assert sorted(map(held.name, held.finals)) == ["awq{group_size=128}@4", "awq{group_size=64}@4"]

"""Attribution of the loss: Shapley over measured prefixes, and its axioms."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayci import analysis
from tests.analysis.synthetic_table import Value, every_order, row, table

STEPS = ("ft", "wanda@0.5", "gd")
STAGES = list(dict.fromkeys(chain[:n] for chain in itertools.permutations(STEPS) for n in range(4)))


def test_two_methods_by_hand() -> None:
    values = {(): 0.6, ("ft",): 0.5, ("wanda@0.5",): 0.4, ("ft", "wanda@0.5"): 0.2, ("wanda@0.5", "ft"): 0.3}
    frame = analysis.attribution(table(every_order(STEPS[:2], "mmlu", values.__getitem__)))
    drops = dict(zip(frame.method, frame["drop"], strict=True))
    assert drops["ft"] == pytest.approx(((0.6 - 0.5) + (0.4 - 0.3)) / 2)
    assert drops["wanda"] == pytest.approx(((0.5 - 0.2) + (0.6 - 0.4)) / 2)
    assert (frame.value_none[0], frame.value_all[0], frame.n_orders[0]) == (0.6, pytest.approx(0.25), 2)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=len(STAGES), max_size=len(STAGES)))
def test_drops_add_up_to_what_the_whole_costs(values: list[float]) -> None:
    by_stage = dict(zip(STAGES, values, strict=True))
    frame = analysis.attribution(table(every_order(STEPS, "mmlu", by_stage.__getitem__)), size=3)
    whole = sum(by_stage[order] for order in itertools.permutations(STEPS)) / 6
    assert frame["drop"].sum() == pytest.approx(by_stage[()] - whole)
    assert frame.value_none[0] - frame.value_all[0] == pytest.approx(by_stage[()] - whole)


def test_who_changes_nothing_costs_nothing_and_equals_cost_the_same() -> None:
    frame = analysis.attribution(table(every_order(STEPS, "mmlu", lambda stage: 0.9 - 0.2 * len({*stage} - {"gd"}))))
    drops = frame[frame.methods == "ft × wanda × gd"].set_index("method")["drop"]
    assert drops.to_dict() == pytest.approx({"ft": 0.2, "wanda": 0.2, "gd": 0.0})
    assert set(frame.methods) == {"ft × wanda × gd", "ft × wanda", "ft × gd", "wanda × gd"}


def test_recompression_counts_for_the_method_that_it_repeats() -> None:
    rows = [
        row("", "mmlu", 0.6),
        row("ft", "mmlu", 0.6),
        row("wanda@0.5", "mmlu", 0.5),
        row("ft > wanda@0.5", "mmlu", 0.4),
        row("wanda@0.5 > ft", "mmlu", 0.5, final=False),
        row("wanda@0.5 > ft > refit(wanda@0.5)", "mmlu", 0.3),
    ]
    drops = analysis.attribution(table(rows)).set_index("method")["drop"]
    assert drops.to_dict() == pytest.approx({"ft": 0.0, "wanda": (0.2 + 0.1 + 0.2) / 2})


def test_areas_and_intervals_over_batches() -> None:
    rows = {}
    for k, gamma in itertools.product(range(3), (0.2, 0.6)):

        def value(stage: tuple[str, ...], k: int = k, gamma: float = gamma) -> float:
            return 0.9 - ("ft" in stage) * (0.1 + k / 100) - (f"wanda@{gamma}" in stage) * gamma

        for entry in every_order(("ft", f"wanda@{gamma}"), "mmlu", value, replicate=k):
            rows[entry.chain, entry.replicate] = entry
    frame = analysis.attribution(table(rows.values())).set_index("method")
    assert frame["drop"].to_dict() == pytest.approx({"ft": 0.11, "wanda": 0.4})
    half = 4.302652729911275 * 0.01 / math.sqrt(3)
    assert frame.loc["ft", ["drop_low", "drop_high"]].tolist() == pytest.approx([0.11 - half, 0.11 + half])


def test_a_stage_without_a_value_leaves_no_attribution() -> None:
    def broken(stage: tuple[str, ...]) -> Value:
        return "diverged" if stage == ("gd",) else 0.5

    frame = analysis.attribution(table(every_order(("ft", "gd"), "mmlu", broken)))
    assert frame["drop"].isna().all()
    assert set(frame.reason) == {"gd: diverged"}
    one = [entry for entry in every_order(("ft", "gd"), "mmlu", lambda _: 0.5) if entry.composition != "gd > ft"]
    assert set(analysis.attribution(table(one)).reason) == {"gd > ft: not in the table"}

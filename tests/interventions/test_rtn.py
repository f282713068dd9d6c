"""Round to nearest on groups worked by hand, and its promises on models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rayci.context import Context
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.grid import Even, absmax, asymmetric
from rayci.interventions.compression.rtn import RoundToNearest
from rayci.interventions.compression.wanda import Wanda
from rayci.model import modules
from rayci.testbed import collection
from tests.models import differing, tiny, weights

CONTEXT = Context(collection())
FORMS: list[dict[str, Any]] = [
    {"range": "minmax"},
    {"range": "absmax"},
    {"range": "minmax", "group_size": -1},
    {"range": "absmax", "group_size": -1},
    {"range": "absmax_tensor"},
]


def two_bits(*row: float) -> list[float]:
    weight = torch.tensor([row])
    return asymmetric(weight, 2, len(row)).round(weight)[0].tolist()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]),
        ([-1.0, 0.0, 0.4, 2.0], [-1.0, 0.0, 0.0, 2.0]),  # step 1, zero 1
        ([-1.0, 0.5, 1.5, 2.0], [-1.0, 0.0, 2.0, 2.0]),  # halves go to even
        ([5.0, 5.4, 7.0, 8.0], [5.0, 5.0, 7.0, 8.0]),  # the range need not include 0
        ([-6.0, -5.0, -3.2, -3.0], [-6.0, -5.0, -3.0, -3.0]),
        ([0.0, 2.9, 3.1, 6.0], [0.0, 2.0, 4.0, 6.0]),  # step 2: 1.45 → 1, 1.55 → 2
    ],
)
def test_asymmetric_by_hand(row: list[float], expected: list[float]) -> None:
    assert two_bits(*row) == expected


@pytest.mark.parametrize("value", [0.7, -0.7, 0.0, 1e-30, 3e4])
def test_a_constant_group_is_met_exactly(value: float) -> None:
    weight = torch.full((1, 4), value)
    assert asymmetric(weight, 2, 4).round(weight).equal(weight)


def test_groups_have_their_own_levels() -> None:
    weight = torch.tensor([[0.0, 3.0, 1.2, 1.0, 0.0, 30.0, 12.0, 10.0], [0.0, 6.0, 2.9, 3.1, 7.0, 7.0, 7.0, 7.0]])
    grid = asymmetric(weight, 2, 4)
    assert grid.scale.tolist() == [[1.0, 10.0], [2.0, 7.0]]
    assert grid.round(weight).tolist() == [[0, 3, 1, 1, 0, 30, 10, 10], [0, 6, 2, 4, 7, 7, 7, 7]]


MATRIX = torch.tensor([[-4.0, 1.0, 3.0, 4.0], [1.0, 0.9, -1.0, 2.0]])


def test_absmax_per_channel_by_hand() -> None:
    # row 0: Δ = 4/2 = 2, codes −2, .5 → 0, 1.5 → 2 clamped to 1, 2 clamped to 1; row 1: Δ = 1, codes 1 1 −1 1
    grid = absmax(MATRIX, 2, 4)
    assert grid.levels == Even(-2, 1)
    assert grid.round(MATRIX).tolist() == [[-4.0, 0.0, 2.0, 2.0], [1.0, 1.0, -1.0, 1.0]]


def test_absmax_per_tensor_by_hand() -> None:
    # Δ = 2 for both rows: row 1 is .5 .45 −.5 1 → 0 0 0 1
    assert absmax(MATRIX, 2, 4, per_tensor=True).round(MATRIX).tolist() == [[-4.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 2.0]]


def test_absmax_per_group_by_hand() -> None:
    # groups of two: Δ = 2, 2 and .5, 1
    assert absmax(MATRIX, 2, 2).round(MATRIX).tolist() == [[-4.0, 0.0, 2.0, 2.0], [0.5, 0.5, -1.0, 1.0]]


def test_absmax_of_zeros_is_zero() -> None:
    assert absmax(torch.zeros(2, 4), 4, 4).round(torch.zeros(2, 4)).equal(torch.zeros(2, 4))


@given(st.integers(0, 10_000), st.integers(2, 8), st.sampled_from([1, 2, 4, 8]), st.floats(-3, 3))
def test_no_weight_moves_by_more_than_half_a_step(seed: int, bits: int, group: int, shift: float) -> None:
    weight = torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)) + shift
    grid = asymmetric(weight, bits, group)
    step = grid.scale.repeat_interleave(group, dim=1)
    slack = 1e-4 * weight.abs().max()
    assert bool(((grid.round(weight) - weight).abs() <= step / 2 + slack).all())
    assert grid.round(grid.round(weight)).equal(grid.round(weight))


def groups_of(weight: Tensor, group: int) -> Tensor:
    return weight.reshape(-1, weight.shape[1] if group < 0 else group)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_every_group_has_at_most_two_to_the_bits_levels(form: dict[str, Any], bits: int) -> None:
    form = {"group_size": 16, **form}
    subject = tiny()
    subject.apply(RoundToNearest(bits=bits, **form), CONTEXT)
    for _, module in subject.linears():
        weight = modules.weight(module)
        if form["range"] == "absmax_tensor":
            assert len(weight.unique()) <= 2**bits
        assert max(len(group.unique()) for group in groups_of(weight, form["group_size"])) <= 2**bits


@pytest.mark.parametrize("form", FORMS[:1] + FORMS[2:3], ids=lambda form: "-".join(map(str, form.values())))
def test_a_second_round_finds_the_same_levels(form: dict[str, Any]) -> None:
    subject = tiny()
    rtn = RoundToNearest(bits=3, **{"group_size": 16, **form})
    subject.apply(rtn, CONTEXT)
    once = weights(subject)
    subject.apply(rtn, CONTEXT)
    assert all(torch.allclose(value, once[name], rtol=1e-5, atol=1e-6) for name, value in weights(subject).items())


def test_minus_one_is_the_whole_row() -> None:
    # linears of 32 columns with group 32 have whole rows too; those of 64 columns do not
    row, group = tiny(), tiny()
    receipt = row.apply(RoundToNearest(bits=3, group_size=-1), CONTEXT)
    group.apply(RoundToNearest(bits=3, group_size=32), CONTEXT)
    assert all(value.shape[1] == 1 for value in receipt.kept.values())
    assert differing(row, weights(group)) == {f"model.layers.{index}.mlp.down_proj.weight" for index in range(3)}


def test_a_group_that_does_not_divide_is_one_error_before_any_weight_changes() -> None:
    subject = tiny(intermediate_size=48)  # 32 divides the columns of all linears but the last of a block
    before = weights(subject)
    with pytest.raises(RequestError, match=r"group_size 32 does not divide the 48 columns of .*down_proj") as error:
        subject.apply(RoundToNearest(bits=4, group_size=32), CONTEXT)
    assert len(str(error.value).splitlines()) <= 4
    assert differing(subject, before) == set()


@pytest.mark.parametrize("bits", [1, 9, 2.5])
def test_bits_out_of_range_are_refused(bits: float) -> None:
    with pytest.raises(RequestError, match="bits"):
        RoundToNearest.configure(strength=bits)


def test_weights_that_are_not_finite_fail_the_stage() -> None:
    subject = tiny()
    with torch.no_grad():
        modules.weight(next(subject.linears())[1])[0, 0] = float("nan")
    with pytest.raises(InterventionError, match="q_proj are not finite"):
        subject.apply(RoundToNearest(bits=4, group_size=16), CONTEXT)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_zeros_of_a_pruner_stay_zero(form: dict[str, Any]) -> None:
    subject = tiny()
    subject.apply(Wanda(sparsity=0.5, sequences=2, length=16), CONTEXT)
    pruned = {name: modules.weight(module) == 0 for name, module in subject.linears()}
    subject.apply(RoundToNearest(bits=2, **{"group_size": 16, **form}), CONTEXT)
    for name, module in subject.linears():
        assert not modules.weight(module)[pruned[name]].any()


@pytest.mark.parametrize(
    ("pruner", "keep_zeros", "kept"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_a_zero_off_the_stored_grid_stays_after_a_pruner_or_where_asked(
    pruner: bool, keep_zeros: bool | None, kept: bool
) -> None:
    subject = tiny()
    _, module = next(subject.linears())
    weight = modules.weight(module)
    with torch.no_grad():
        weight[0, :16] = torch.linspace(1, 2, 16)  # a grid that does not hold 0
    if pruner:
        subject.apply(Wanda(sparsity=0.0, sequences=2, length=16), CONTEXT)
    rtn = RoundToNearest(bits=4, group_size=16, keep_zeros=keep_zeros)
    subject.apply(rtn, CONTEXT)
    weight[0, 3] = 0
    subject.apply(rtn, CONTEXT, "reproject")
    assert weight[0, 3].item() == pytest.approx(0.0 if kept else 1.0)


def test_embeddings_norms_and_head_are_untouched() -> None:
    subject = tiny()
    before = weights(subject)
    receipt = subject.apply(RoundToNearest(bits=2, group_size=16), CONTEXT)
    assert differing(subject, before) == set(receipt.changed) == {f"{name}.weight" for name, _ in subject.linears()}

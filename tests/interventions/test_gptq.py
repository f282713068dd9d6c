"""GPTQ by hand, against slow surgery with explicit inverses, against RTN, and on models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.columns import sweep
from rayci.interventions.compression.gptq import GPTQ
from rayci.interventions.compression.grid import Grid, including_zero
from rayci.interventions.compression.hessian import inverse_factor, objective
from rayci.interventions.compression.walk import walk
from rayci.interventions.compression.wanda import Wanda
from rayci.model import modules
from rayci.testbed import collection
from tests.interventions.gptq_rule import rounding
from tests.interventions.surgery import correlated, damped, gram, operate, random
from tests.models import ARCHITECTURES, differing, tiny, weights

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {"sequences": 4, "length": 32, "group_size": 16}
FORMS: list[dict[str, Any]] = [
    {},
    {"symmetric": False},
    {"act_order": True},
    {"act_order": True, "static_groups": True},
    {"static_groups": True, "symmetric": False},
    {"group_size": -1},
    {"group_size": -1, "act_order": True, "symmetric": False},
    {"block_size": 8},
]


def label(form: dict[str, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in form.items()) or "published"


def quantised(weight: Tensor, hessian: Tensor, bits: int, group: int, block: int = 128, **given: Any) -> Tensor:
    factor = inverse_factor(hessian, given.pop("damping", 0.0))
    assert factor is not None
    return sweep(weight, factor, block, rounding(bits, group, **{"symmetric": False, **given}))


# Column 0 gives half of its error to column 1, column 2 all of its error to column 3.
HESSIAN = torch.tensor([[2.0, 1.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
WEIGHT = torch.tensor([[0.4, 0.4, 3.0, 1.0], [1.4, 3.0, 0.4, 0.2], [-1.0, 2.0, 0.4, 0.3], [0.0, 3.0, 2.6, 1.3]])


def test_by_hand() -> None:
    # Rows span 0 to 3 (row 2: −1 to 2): step 1.
    # row 0: .4 → 0, .4 + .2 → 1, 3, 1; row 1: 1.4 → 1, 3 + .2 → 3, .4 → 0, .2 + .4 → 1
    # row 2: −1, 2, .4 → 0, .3 + .4 → 1; row 3: 0, 3, 2.6 → 3, 1.3 − .4 → 1
    expected = torch.tensor([[0.0, 1.0, 3.0, 1.0], [1.0, 3.0, 0.0, 1.0], [-1.0, 2.0, 0.0, 1.0], [0.0, 3.0, 3.0, 1.0]])
    torch.testing.assert_close(quantised(WEIGHT, HESSIAN, 2, 4), expected)
    nearest = including_zero(WEIGHT, 2, 4, symmetric=False).round(WEIGHT)
    assert nearest.tolist() == [[0, 0, 3, 1], [1, 3, 0, 0], [-1, 2, 0, 0], [0, 3, 3, 1]]


def test_kept_zeros_pass_their_error_on_by_hand() -> None:
    zeros = torch.zeros(4, 4, dtype=torch.bool)
    zeros[1, 0] = zeros[2, 2] = True
    # row 1: 1.4 → 0, 3 + .7 → 3; row 2: .4 → 0 as before
    expected = torch.tensor([0.0, 3.0, 0.0, 1.0])
    torch.testing.assert_close(quantised(WEIGHT, HESSIAN, 2, 4, zeros=zeros)[1], expected)


def test_a_zero_moves_unless_it_is_kept_by_hand() -> None:
    # column 0 gives three times its error to column 1: 1.4 → 1, 0 + 1.2 → 1
    hessian = torch.tensor([[10.0, 3.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    weight = torch.tensor([[1.4, 0.0, 3.0]])
    assert quantised(weight, hessian, 2, 3).tolist() == [[1, 1, 3]]
    assert quantised(weight, hessian, 2, 3, zeros=weight == 0).tolist() == [[1, 0, 3]]


@pytest.mark.parametrize(
    ("row", "scale", "zero", "expected"),
    [
        ([0.0, 1.0, 2.0, 3.0], 2.0, 2.0, [0.0, 0.0, 2.0, 2.0]),  # −4 −2 0 2; .5 → 0 and 1.5 → 2, halves to even
        ([-3.0, -1.2, 0.4, 1.2], 2.0, 2.0, [-4.0, -2.0, 0.0, 2.0]),  # −1.5 → −2
        ([0.0, 0.0, 0.0, 0.0], 2 / 3, 2.0, [0.0, 0.0, 0.0, 0.0]),  # no range: −1 to 1
    ],
)
def test_symmetric_levels_by_hand(row: list[float], scale: float, zero: float, expected: list[float]) -> None:
    grid = including_zero(torch.tensor([row]), 2, 4, symmetric=True)
    assert grid.scale.item() == pytest.approx(scale)
    assert grid.zero.item() == zero
    assert grid.round(torch.tensor([row]))[0].tolist() == expected


@pytest.mark.parametrize(
    ("row", "scale", "zero"), [([3.0, 4.0, 5.0, 6.0], 2.0, 0.0), ([-6.0, -3.0, -4.0, -5.0], 2.0, 3.0)]
)
def test_the_range_includes_zero(row: list[float], scale: float, zero: float) -> None:
    grid = including_zero(torch.tensor([row]), 2, 4, symmetric=False)
    assert (grid.scale.item(), grid.zero.item()) == (scale, zero)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", [16, 64])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_with_a_diagonal_hessian_it_is_rtn(bits: int, group: int, symmetric: bool) -> None:
    weight, sizes = random(32, 64, bits), torch.rand(64, generator=torch.Generator().manual_seed(bits)) + 0.1
    nearest = including_zero(weight, bits, group, symmetric=symmetric).round(weight)
    assert quantised(weight, sizes.diag(), bits, group, block=32, symmetric=symmetric).equal(nearest)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_never_worse_than_rtn(seed: int, bits: int, symmetric: bool) -> None:
    weight, hessian = random(32, 64, seed), gram(correlated(64, seed))
    nearest = including_zero(weight, bits, 64, symmetric=symmetric).round(weight)
    ours = quantised(weight, hessian, bits, 64, damping=0.01, symmetric=symmetric)
    assert objective(ours - weight, hessian) < objective(nearest - weight, hessian)


@pytest.mark.parametrize("static", [False, True], ids=["read on the way", "static"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("group", "block"), [(16, 16), (8, 16), (48, 16)])
@pytest.mark.parametrize("seed", range(2))
def test_as_slow_surgery(seed: int, group: int, block: int, symmetric: bool, static: bool) -> None:
    weight, hessian = random(24, 48, seed), gram(correlated(48, seed))
    grids: dict[int, Grid] = {}
    at_block, tied = weight, torch.zeros(24, dtype=torch.bool)

    def choose(column: int, now: Tensor, corners: Tensor) -> Tensor:
        nonlocal at_block, tied
        if column % block == 0:
            at_block = now.clone()
        if column % group == 0:
            source = (weight if static else at_block)[:, column : column + group]
            grids[column // group] = including_zero(source, 3, group, symmetric=symmetric)
        grid = grids[column // group]
        halves = (now[:, column] / grid.scale[:, 0] - 0.5) % 1
        tied = tied | (halves < 1e-4) | (halves > 1 - 1e-4)
        return grid.round(now[:, column : column + 1])[:, 0].double()

    slow = operate(weight, damped(hessian, 0.01), choose)
    laid = including_zero(weight, 3, group, symmetric=symmetric) if static else None
    fast = quantised(weight, hessian, 3, group, block, damping=0.01, symmetric=symmetric, laid=laid)
    # A symmetric group whose largest weight comes first has it just between two levels.
    assert tied.sum() <= (16 if symmetric else 2)
    assert torch.isclose(fast.double(), slow, rtol=1e-3, atol=1e-4)[~tied].all()


def hessian_of_first(subject: Any, path: str) -> Tensor:
    """Σ x xᵀ of a linear of the first block, gathered by this test's own hook."""
    tokens = CONTEXT.calibration(subject.tokenizer, SMALL["sequences"], SMALL["length"])
    found: list[Tensor] = []
    with torch.no_grad():
        next(walk(subject, tokens, 8)).observe(lambda name, x: found.append(x) if name == path else None)
    return torch.cat(found).T @ torch.cat(found)


@pytest.mark.parametrize("static", [False, True], ids=["moving", "static"])
def test_activation_order_takes_the_largest_channels_first(static: bool) -> None:
    subject = tiny()
    name, module = next(subject.linears())
    weight, hessian = modules.weight(module).clone(), hessian_of_first(subject, "self_attn.q_proj")
    receipt = subject.apply(GPTQ(bits=3, act_order=True, static_groups=static, **SMALL), CONTEXT)
    order = hessian.diagonal().argsort(descending=True)
    grid = including_zero(weight, 3, 16, symmetric=True)
    placed = replace(grid, index=order // 16) if static else None
    turned = quantised(weight[:, order], hessian[order][:, order], 3, 16, damping=0.01, symmetric=True, laid=placed)
    close = torch.isclose(modules.weight(module), turned[:, order.argsort()], rtol=1e-4, atol=1e-5)
    assert close.double().mean() >= 0.999
    if static:
        assert f"{name}.index" not in receipt.kept
        assert receipt.kept[f"{name}.scale"].equal(grid.scale)
    else:
        index = receipt.kept[f"{name}.index"]
        assert index[order].tolist() == [0] * 16 + [1] * 16


@pytest.mark.parametrize("bits", [2, 3, 8])
@pytest.mark.parametrize("form", FORMS, ids=label)
def test_every_group_is_on_its_grid_and_stays(form: dict[str, Any], bits: int) -> None:
    subject = tiny()
    gptq = GPTQ(bits=bits, **{**SMALL, **form})
    receipt = subject.apply(gptq, CONTEXT)
    for name, module in subject.linears():
        weight = modules.weight(module)
        index = receipt.kept.get(f"{name}.index", torch.arange(weight.shape[1]) // gptq.group(name, weight.shape[1]))
        for group in range(int(index.max()) + 1):
            for row in weight[:, index == group]:
                assert len(row.unique()) <= 2**bits
        assert gptq.measured_bits(name, weight, receipt).unique().tolist() == [gptq.nominal_bits()]
    once = weights(subject)
    subject.apply(gptq, CONTEXT, "reproject")
    assert differing(subject, once) == set()


@pytest.mark.parametrize("form", FORMS[:4], ids=label)
def test_an_edit_is_seen_group_by_group_and_undone(form: dict[str, Any]) -> None:
    subject = tiny()
    gptq = GPTQ(bits=4, **{**SMALL, **form})
    receipt = subject.apply(gptq, CONTEXT)
    name, module = next(subject.linears())
    weight = modules.weight(module)
    once = weight.clone()
    weight[2, 5] += 1e-3
    dense = gptq.measured_bits(name, weight, receipt) == 16
    assert dense.sum() == 16
    assert bool(dense[2, 5])
    subject.apply(gptq, CONTEXT, "reproject")
    assert weight.equal(once)


@pytest.mark.parametrize("form", FORMS, ids=label)
def test_zeros_of_a_pruner_stay_zero(form: dict[str, Any]) -> None:
    subject = tiny()
    subject.apply(Wanda(sparsity=0.5, sequences=2, length=16), CONTEXT)
    gone = {name: modules.weight(module) == 0 for name, module in subject.linears()}
    subject.apply(GPTQ(bits=4, **{**SMALL, **form}), CONTEXT)
    for name, module in subject.linears():
        assert not modules.weight(module)[gone[name]].any()


@pytest.mark.parametrize(("pruner", "keep_zeros", "kept"), [(True, False, False), (False, True, True)])
def test_keeping_zeros_can_be_asked_for_and_refused(pruner: bool, keep_zeros: bool, kept: bool) -> None:
    subject = tiny()
    if pruner:
        subject.apply(Wanda(sparsity=0.5, sequences=2, length=16), CONTEXT)
    weight = modules.weight(next(subject.linears())[1])
    with torch.no_grad():
        weight[:, ::2] = 0
    subject.apply(GPTQ(bits=4, keep_zeros=keep_zeros, **SMALL), CONTEXT)
    assert bool(weight[:, ::2].any()) != kept  # the error of earlier columns moves what is not kept


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_it_runs_on_every_architecture(kind: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    before = weights(subject)
    receipt = subject.apply(GPTQ(bits=4, **SMALL, act_order=tied), CONTEXT)
    assert differing(subject, before) == set(receipt.changed) == {f"{name}.weight" for name, _ in subject.linears()}


def test_dead_channels_and_rows_of_zeros_are_quantised_to_zero() -> None:
    subject = tiny()
    query = modules.weight(next(subject.linears())[1])
    with torch.no_grad():
        subject.blocks[0].input_layernorm.weight[[3, 5]] = 0
        query[4] = 0
    receipt = subject.apply(GPTQ(bits=3, **SMALL), CONTEXT)
    assert not query[:, [3, 5]].any()
    assert not query[4].any()
    assert receipt.retries == ()


@pytest.mark.parametrize("form", FORMS, ids=label)
def test_fewer_tokens_than_channels_are_enough(form: dict[str, Any]) -> None:
    subject = tiny()
    subject.apply(GPTQ(bits=3, **{**SMALL, **form, "sequences": 1, "length": 4}), CONTEXT)
    assert all(bool(torch.isfinite(value).all()) for value in weights(subject).values())


def test_activations_that_are_not_finite_fail_the_stage() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_input_embeddings().weight.fill_(float("nan"))  # type: ignore[operator]
    with pytest.raises(InterventionError, match=r"q_proj and .* is not finite, tried with damping"):
        subject.apply(GPTQ(bits=4, **SMALL), CONTEXT)


@pytest.mark.parametrize("size", [32, 7])
def test_a_group_that_does_not_divide_is_refused_before_any_weight_changes(size: int) -> None:
    subject = tiny(intermediate_size=48)
    before = weights(subject)
    with pytest.raises(RequestError, match=f"gptq: group_size {size} does not divide"):
        subject.apply(GPTQ(bits=4, **{**SMALL, "group_size": size}), CONTEXT)
    assert differing(subject, before) == set()


@pytest.mark.parametrize("bits", [1, 9, 17, 3.5])
def test_bits_out_of_range_are_refused(bits: float) -> None:
    with pytest.raises(RequestError, match="bits"):
        GPTQ.configure(strength=bits)

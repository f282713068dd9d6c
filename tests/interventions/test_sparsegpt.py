"""SparseGPT by hand, against slow surgery with explicit inverses, and on models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rayci.context import Context
from rayci.errors import InterventionError, RequestError
from rayci.interventions.compression.columns import sweep
from rayci.interventions.compression.hessian import Curvature, inverse_factor, objective
from rayci.interventions.compression.lowest import lowest_in_matrix
from rayci.interventions.compression.sparsegpt import Saliency, SparseGPT
from rayci.model import modules
from rayci.testbed import collection
from tests.interventions.surgery import correlated, damped, gram, operate, random
from tests.models import ARCHITECTURES, INNER, differing, tiny, weights

CONTEXT = Context(collection())
SMALL: dict[str, Any] = {"sequences": 4, "length": 32}

HESSIAN = torch.tensor([[2.0, 1.0, 0.0, 0.0], [1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
WEIGHT = torch.tensor([[2.0, 1.0, 1.0, 3.0], [4.0, 2.0, -2.0, 1.0], [1.0, -1.0, 5.0, 2.0], [-2.0, 3.0, 1.0, -4.0]])
# U_jj² = 2/3 1/2 1/2 1/2, so the scores are w² · (1.5 2 2 2):
#   6 2 2 18 | 24 8 8 2 | 1.5 2 50 8 | 6 18 2 32, the eight lowest are all below 8.
# A pruned column 0 gives half of itself to column 1, a pruned column 2 all of itself to column 3.


def pruned(
    weight: Tensor, hessian: Tensor, sparsity: float, block: int = 128, damping: float = 0.0, **rule: Any
) -> Tensor:
    factor = inverse_factor(hessian, damping)
    assert factor is not None
    return sweep(weight, factor, block, Saliency(factor, [len(weight)], sparsity, **rule))


def test_half_of_a_block_goes_by_hand() -> None:
    expected = torch.tensor([[0.0, 0.0, 0.0, 4.0], [4.0, 2.0, -2.0, 0.0], [0.0, 0.0, 5.0, 2.0], [0.0, 2.0, 0.0, -3.0]])
    torch.testing.assert_close(pruned(WEIGHT, HESSIAN, 0.5), expected)


def test_one_of_two_by_hand() -> None:
    expected = torch.tensor([[2.0, 0.0, 0.0, 4.0], [4.0, 0.0, -2.0, 0.0], [0.0, -0.5, 5.0, 0.0], [0.0, 2.0, 0.0, -3.0]])
    torch.testing.assert_close(pruned(WEIGHT, HESSIAN, 0.5, ratio=(1, 2)), expected)


def test_parity_prunes_the_threshold_too_by_hand() -> None:
    # the ninth lowest score is 8, which three weights have: row 1 columns 1 and 2, row 2 column 3
    zeros = pruned(WEIGHT, HESSIAN, 0.5, parity=True) == 0
    assert zeros.sum() == 11
    assert (pruned(WEIGHT, HESSIAN, 0.5) == 0).sum() == 8


@pytest.mark.parametrize("ratio", [None, (2, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_as_slow_surgery(seed: int, ratio: tuple[int, int] | None) -> None:
    weight, hessian = random(24, 48, seed), gram(correlated(48, seed))
    mask = torch.zeros_like(weight, dtype=torch.bool)

    def choose(column: int, now: Tensor, corners: Tensor) -> Tensor:
        width = ratio[1] if ratio else 16
        if column % width == 0:
            part = slice(column, column + width)
            scores = now[:, part].square() / corners[part]
            if ratio:
                mask[:, part] = scores.argsort(dim=1).argsort(dim=1) < ratio[0]
            else:
                mask[:, part] = scores <= scores.flatten().sort().values[int(scores.numel() * 0.6) - 1]
        return torch.where(mask[:, column], 0, now[:, column])

    slow = operate(weight, damped(hessian, 0.01), choose)
    fast = pruned(weight, hessian, 0.5 if ratio else 0.6, block=16, damping=0.01, ratio=ratio)
    assert ((fast == 0) == (slow == 0)).double().mean() >= 0.999
    torch.testing.assert_close(fast.double(), slow, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("seed", range(5))
def test_never_worse_than_magnitude(seed: int, sparsity: float) -> None:
    weight, hessian = random(32, 64, seed), gram(correlated(64, seed))
    ours = pruned(weight, hessian, sparsity, damping=0.01)
    theirs = weight.masked_fill(lowest_in_matrix(weight.abs(), sparsity), 0)
    assert (ours == 0).sum() == (theirs == 0).sum()
    assert objective(ours - weight, hessian) < objective(theirs - weight, hessian)


def test_the_objective_is_the_output_error() -> None:
    weight, inputs = random(8, 12, 0), correlated(12, 0)
    delta = 0.1 * random(8, 12, 1)
    error = 2 * (inputs.double() @ delta.double().T).square().sum()
    assert objective(delta, gram(inputs)) == pytest.approx(float(error), rel=1e-4)
    assert weight.shape == delta.shape


@pytest.mark.parametrize(("sparsity", "block"), [(0.25, 16), (0.35, 16), (0.55, 32), (0.75, 24)])
def test_every_block_loses_exactly_its_share(sparsity: float, block: int) -> None:
    subject = tiny()
    subject.apply(SparseGPT(sparsity=sparsity, block_size=block, **SMALL), CONTEXT)
    for _, module in subject.linears():
        for part in modules.weight(module).split(block, dim=1):
            assert int((part == 0).sum()) == int(part.numel() * sparsity)


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4"])
def test_every_group_loses_exactly_n(pattern: str) -> None:
    n, m = map(int, pattern.split(":"))
    subject = tiny()
    subject.apply(SparseGPT.configure(strength=pattern, settings=SMALL), CONTEXT)
    for _, module in subject.linears():
        weight = modules.weight(module)
        assert set((weight == 0).view(len(weight), -1, m).sum(-1).flatten().tolist()) == {n}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_it_runs_on_every_architecture(kind: str, tied: bool) -> None:
    subject = tiny(kind, tied=tied)
    before = weights(subject)
    receipt = subject.apply(SparseGPT(sparsity=0.5, **SMALL), CONTEXT)
    assert differing(subject, before) == set(receipt.changed) == {f"{name}.weight" for name, _ in subject.linears()}
    once = weights(subject)
    subject.apply(subject.applied[0].intervention, CONTEXT, "reproject")
    assert differing(subject, once) == set()


def kill(subject: Any, channels: tuple[int, ...]) -> nn.Module:
    """Make input channels of the first block's first linears 0 for every token."""
    norm = subject.blocks[0].input_layernorm
    with torch.no_grad():
        norm.weight[list(channels)] = 0
    return norm


def test_dead_channels_are_zeroed_and_kept_so() -> None:
    subject = tiny()
    kill(subject, (3, 5))
    receipt = subject.apply(SparseGPT(sparsity=0.25, **SMALL), CONTEXT)
    query = modules.weight(next(subject.linears())[1])
    assert not query[:, [3, 5]].any()
    assert bool(torch.isfinite(query).all())
    assert receipt.retries == ()
    with torch.no_grad():
        query.add_(1)
    subject.apply(subject.applied[0].intervention, CONTEXT, "reproject")
    assert not query[:, [3, 5]].any()


def test_fewer_tokens_than_channels_are_enough() -> None:
    subject = tiny()
    subject.apply(SparseGPT(sparsity=0.5, sequences=1, length=4), CONTEXT)
    assert all(bool(torch.isfinite(value).all()) for value in weights(subject).values())


def test_weights_of_zero_stay_zero() -> None:
    subject = tiny()
    with torch.no_grad():
        for _, module in subject.linears():
            module.weight.zero_()
    subject.apply(SparseGPT(sparsity=0.5, **SMALL), CONTEXT)
    assert not any(module.weight.any() for _, module in subject.linears())


def test_a_hessian_that_is_not_positive_definite_gets_more_damping() -> None:
    hessian = torch.tensor([[1.0, 1.05], [1.05, 1.0]])  # eigenvalues 2.05 and −0.05
    curvature = Curvature.of("here", hessian, 0.01)
    assert curvature.factor().isfinite().all()
    assert curvature.retries == ["here: damping 0.01 gave no finite factor, 0.1 was tried"]
    assert Curvature.of("here", torch.eye(2), 0.01).retries == []


def test_three_retries_and_no_more() -> None:
    hessian = torch.tensor([[1.0, 13.0], [13.0, 1.0]])  # −12: even damping 10 does not do
    curvature = Curvature.of("here", hessian, 0.01)
    with pytest.raises(InterventionError, match=r"here is not positive definite, tried with damping 0\.01 to 10"):
        curvature.factor()
    assert Curvature.of("here", torch.tensor([[1.0, 10.0], [10.0, 1.0]]), 0.01).factor().isfinite().all()


def test_retries_reach_the_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    from rayci.interventions.compression import hessian

    real, calls = hessian.inverse_factor, []

    def first_fails(matrix: Tensor, damping: float) -> Tensor | None:
        calls.append(damping)
        return None if len(calls) == 1 else real(matrix, damping)

    monkeypatch.setattr(hessian, "inverse_factor", first_fails)
    receipt = tiny().apply(SparseGPT(sparsity=0.5, **SMALL), CONTEXT)
    assert calls[:2] == [0.01, 0.1]
    assert len(receipt.retries) == 1
    assert "model.layers.0.self_attn.q_proj" in receipt.retries[0]


def test_activations_that_are_not_finite_fail_the_stage() -> None:
    subject = tiny()
    with torch.no_grad():
        subject.model.get_input_embeddings().weight.fill_(float("nan"))  # type: ignore[operator]
    with pytest.raises(InterventionError, match=r"q_proj and .* is not finite"):
        subject.apply(SparseGPT(sparsity=0.5, **SMALL), CONTEXT)


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"intermediate_size": 60}, "down_proj has 60 columns"), ({}, "groups of 4:8 do not fit blocks of 12")],
)
def test_a_pattern_that_does_not_fit_is_refused_before_any_weight_changes(settings: dict[str, int], text: str) -> None:
    subject = tiny(**{"intermediate_size": INNER, **settings})
    before = weights(subject)
    block = 128 if settings else 12
    with pytest.raises(RequestError, match=text):
        subject.apply(SparseGPT.configure(strength="4:8", settings={**SMALL, "block_size": block}), CONTEXT)
    assert differing(subject, before) == set()


@pytest.mark.parametrize("value", [{"damping": 0.0}, {"block_size": 0}, {"sparsity": 1.2}])
def test_settings_out_of_range_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(RequestError):
        SparseGPT.configure(strength=0.5 if "sparsity" not in value else 1.2, settings=value)

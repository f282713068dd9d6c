"""The sweep: linears of equal shapes together are what each is alone; a loop that cannot be recorded still runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from rayci import registry
from rayci.context import Context
from rayci.interventions.compression.alike import together
from rayci.interventions.compression.columns import Rule, replace, sweep
from rayci.interventions.compression.grid import including_zero
from rayci.interventions.compression.hessian import Curvature, factors, inverse_factor, objective
from rayci.interventions.compression.replay import Replays
from rayci.interventions.compression.sparsegpt import Saliency
from rayci.testbed import collection
from tests.interventions.gptq_rule import rounding
from tests.interventions.surgery import correlated, gram, random
from tests.models import differing, tiny, weights

LINEARS, ROWS, COLUMNS, BLOCK = 3, 40, 72, 32
"""The last block is narrower than the others."""
CONTEXT = Context(collection())


def problem(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Weights `[linears, rows, columns]` and their factors."""
    weight = torch.stack([random(ROWS, COLUMNS, seed + i) for i in range(LINEARS)])
    factor = inverse_factor(torch.stack([gram(correlated(COLUMNS, seed + i)) for i in range(LINEARS)]), 0.01)
    assert factor is not None
    return weight, factor


def as_read(weight: Tensor, factor: Tensor) -> Rule:
    return rounding(3, 24, symmetric=True, zeros=weight.abs() < 0.1)


def as_laid(weight: Tensor, factor: Tensor) -> Rule:
    laid = including_zero(weight, 4, 12, symmetric=False)
    order = factor.diagonal(dim1=-2, dim2=-1).argsort()
    return rounding(4, 12, symmetric=False, laid=dataclasses.replace(laid, index=order // 12))


def half(weight: Tensor, factor: Tensor) -> Rule:
    return Saliency(factor, [weight.shape[-2] // 2] * 2, 0.5)


def two_of_four(weight: Tensor, factor: Tensor) -> Rule:
    return Saliency(factor, [weight.shape[-2]], 0.5, (2, 4))


Make = Callable[[Tensor, Tensor], Rule]
RULES: list[Make] = [as_read, as_laid, half, two_of_four]


@pytest.mark.parametrize("rule", RULES)
def test_together_is_what_each_is_alone(rule: Make) -> None:
    weight, factor = problem()
    together = sweep(weight, factor, BLOCK, rule(weight, factor))
    for whole, own, its in zip(together, weight, factor, strict=True):
        assert whole.equal(sweep(own, its, BLOCK, rule(own, its)))
        assert whole.ne(own).double().mean() > 0.4


@pytest.mark.parametrize(("method", "strength"), [("gptq", 4), ("sparsegpt", 0.5), ("sparsegpt", "2:4")])
def test_experts_are_solved_together_as_one_by_one(method: str, strength: Any) -> None:
    found = []
    for at_once in (1, 3, 64):
        subject, settings = tiny("mixtral"), {"sequences": 4, "length": 32, "solve_batch": at_once}
        settings |= {"group_size": 8} if method == "gptq" else {}
        before = weights(subject)
        receipt = subject.apply(registry.intervention(method).configure("published", strength, settings), CONTEXT)
        assert differing(subject, before) == set(receipt.changed)
        found.append((weights(subject), receipt.kept))
    for values, kept in found[1:]:
        assert all(values[name].equal(value) for name, value in found[0][0].items())
        assert all(kept[name].equal(value) for name, value in found[0][1].items())


@pytest.mark.parametrize(
    ("shapes", "most", "expected"),
    [
        ([(1536, 2048)], 16, 16),  # Qwen3-30B-A3B
        ([(28672, 4096)], 16, 2),  # Mixtral-8x7B
        ([(4096, 14336)], 16, 1),
        ([(4096, 14336)] * 2, 16, 1),
        ([(8, 8), (8, 8)], 3, 3),
    ],
)
def test_large_ones_are_solved_fewer_at_a_time(shapes: list[tuple[int, int]], most: int, expected: int) -> None:
    assert together(shapes, most) == expected


def test_only_the_one_that_needs_it_gets_more_damping() -> None:
    ill = torch.eye(2) + torch.tensor([[0, 1.05], [1.05, 0]])  # eigenvalues 2.05 and −.05
    curvatures = [Curvature.of(f"linear {i}", matrix, 0.01) for i, matrix in enumerate((torch.eye(2), ill))]
    found = factors(curvatures)
    assert [len(curvature.retries) for curvature in curvatures] == [0, 1]
    assert found[0].equal(Curvature.of("", torch.eye(2), 0.01).factor())
    assert found[1].isfinite().all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a torch whose recording fails")
@pytest.mark.parametrize("rule", [as_read, two_of_four])
def test_a_loop_that_cannot_be_recorded_runs_and_says_so(rule: Make) -> None:
    weight, factor = problem()
    replays = Replays()
    expected = sweep(weight, factor, BLOCK, rule(weight, factor))
    found = sweep(weight, factor, BLOCK, rule(weight, factor), replays.replay)
    assert found.equal(expected)
    assert len(replays.notes) == 1
    assert "ran without a CUDA graph, which takes longer: " in replays.notes[0]


def test_on_a_cpu_nothing_is_recorded() -> None:
    weight, factor = problem()
    replays = Replays()
    for _ in range(2):
        assert sweep(weight, factor, BLOCK, half(weight, factor), replays).equal(
            sweep(weight, factor, BLOCK, half(weight, factor))
        )
    assert replays.notes == []


@pytest.mark.gpu
@pytest.mark.parametrize("rule", RULES)
def test_a_recorded_loop_is_the_plain_one_bit_for_bit(rule: Make) -> None:
    for seed in range(2):
        weight, factor = (part.cuda() for part in problem(seed))
        replays = Replays()
        found = sweep(weight, factor, 16, rule(weight, factor), replays)
        assert replays.notes == []
        assert any(graph is not None for graph in replays._graphs.values())
        assert found.equal(sweep(weight, factor, 16, rule(weight, factor)))


@pytest.mark.gpu
def test_a_failed_recording_leaves_what_was_given_alone() -> None:
    weight, factor = (part.cuda() for part in problem())
    rule = half(weight, factor)
    columns, local = weight.movedim(-1, 0), factor[:, :BLOCK, :BLOCK].movedim(0, -1)
    part, errors = columns[:BLOCK].contiguous(), torch.zeros(BLOCK, LINEARS, ROWS, device="cuda")
    settled, replays = rule.begin(0, columns, part), Replays()

    def waits(*tensors: Tensor) -> None:
        partial(replace, rule)(*tensors)
        float(tensors[0].sum())  # no stream may be waited for while it is recorded

    expected = [part.clone(), errors.clone()]
    waits(*expected, local, *settled)
    for _ in range(3):
        again = [part.clone(), errors.clone()]
        replays(waits, *again, local, *settled)
        assert all(own.equal(other) for own, other in zip(again, expected, strict=True))
    assert len(replays.notes) == 1


@pytest.mark.gpu
@pytest.mark.parametrize("rule", RULES)
def test_a_gpu_reaches_the_objective_of_the_cpu(rule: Make) -> None:
    weight, inputs = random(4096, 240, 0), correlated(240, 0, 2048)
    losses = []
    for device in ("cpu", "cuda"):
        own, hessian = weight.to(device), gram(inputs).to(device)
        factor = inverse_factor(hessian, 0.01)
        assert factor is not None
        losses.append(objective(sweep(own, factor, 128, rule(own, factor)) - own, hessian))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)

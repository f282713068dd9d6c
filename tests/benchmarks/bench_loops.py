"""The hot loops of SparseGPT and GPTQ against what they were: Gram matrices, columns, experts; ratios of times.

    pytest tests/benchmarks/bench_loops.py -m bench --capture=no     # small shapes on a CPU, in fp32
    pytest tests/benchmarks/bench_loops.py -m gpu --capture=no       # Llama-3-8B's and Qwen3-30B-A3B's, in bf16

The named alternatives stand below: inputs in fp32 scaled before the product, a launch for every small operation,
one expert after the other. On a CPU both sides give the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rayci.interventions.compression.columns import Rule, sweep
from rayci.interventions.compression.grid import including_zero
from rayci.interventions.compression.hessian import inverse_factor, objective
from rayci.interventions.compression.lowest import lowest_in_matrix
from rayci.interventions.compression.replay import Replays
from rayci.interventions.compression.sparsegpt import Saliency
from rayci.interventions.gram import Gram
from tests.interventions.gptq_rule import rounding
from tests.interventions.surgery import correlated, random

pytestmark = [pytest.mark.bench, pytest.mark.gpu]
CUDA = torch.cuda.is_available()
DEVICE, DTYPE = (torch.device("cuda"), torch.bfloat16) if CUDA else (torch.device("cpu"), torch.float32)
SEQUENCES, LENGTH, INNER = (4, 2048, 14336) if CUDA else (4, 128, 512)
ROWS, COLUMNS = (6144, 4096) if CUDA else (256, 512)
"""Queries, keys and values of Llama-3-8B."""
EXPERTS, EXPERT_ROWS, EXPERT_COLUMNS = (32, 1536, 2048) if CUDA else (32, 24, 128)
BLOCK, BITS, GROUP, SPARSITY = 128, 4, 128, 0.5


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The shortest of several runs."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if CUDA:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)


def report(what: str, before: float, now: float, error: float) -> None:
    print(f"\n{what}: {before:.3f} s against {now:.3f} s, {before / now:.1f} times, relative difference {error:.1e}")


def test_gram() -> None:
    inputs = [correlated(INNER, seed, LENGTH).to(DEVICE, DTYPE) for seed in range(SEQUENCES)]

    def before() -> Tensor:
        mean = torch.zeros(0)
        for count, sequence in enumerate(inputs, 1):
            scaled = math.sqrt(2 / count) * sequence.float()
            product = scaled.T @ scaled
            mean = product if count == 1 else mean.mul_((count - 1) / count).add_(product)
        return mean

    def now() -> Tensor:
        gram = Gram(INNER, DEVICE)
        for count, sequence in enumerate(inputs, 1):
            gram.add(sequence, share=2 / count, keep=(count - 1) / count)
        return gram.total

    error = float((now() - before()).norm() / before().norm())
    assert error < 1e-6 if CUDA else error == 0
    report(f"Hessian of {SEQUENCES} × {LENGTH} tokens, {INNER} channels", seconds(before), seconds(now), error)


class EagerRounding:
    """GPTQ's rule as it was: levels are read at a group's first column."""

    def __init__(self) -> None:
        self.columns = torch.empty(0)
        self.scale = self.zero = torch.empty(0)

    def begin(self, start: int, columns: Tensor, block: Tensor) -> None:
        self.columns = columns

    def choose(self, start: int, offset: int, block: Tensor) -> Tensor:
        column = start + offset
        if column % GROUP == 0:
            grid = including_zero(self.columns[column : column + GROUP].T, BITS, GROUP, symmetric=True)
            self.scale, self.zero = grid.scale.flatten(), grid.zero.flatten()
        codes = torch.round(block[offset] / self.scale).add_(self.zero).clamp_(0, 2**BITS - 1)
        return codes.sub_(self.zero).mul_(self.scale)


class EagerSaliency:
    """SparseGPT's rule as it was."""

    def __init__(self, factor: Tensor) -> None:
        self.pivots, self.mask = factor.diagonal().unsqueeze(1), torch.empty(0)

    def begin(self, start: int, columns: Tensor, block: Tensor) -> None:
        scores = block.square() / self.pivots[start : start + len(block)].square()
        self.mask = lowest_in_matrix(scores.T, SPARSITY).T

    def choose(self, start: int, offset: int, block: Tensor) -> Tensor:
        return block[offset].masked_fill(self.mask[offset], 0)


def eager_sweep(weight: Tensor, factor: Tensor, rule: EagerRounding | EagerSaliency) -> Tensor:
    """The sweep as it was: one linear, a launch for every operation on a column."""
    columns = weight.float().T.clone(memory_format=torch.contiguous_format)
    for start in range(0, len(columns), BLOCK):
        stop = min(start + BLOCK, len(columns))
        part = columns[start:stop].clone()
        errors, moves = torch.empty_like(part), torch.empty_like(part)
        local = factor[start:stop, start:stop]
        rule.begin(start, columns, part)
        for offset, scale in enumerate(local.diagonal().tolist()):
            column, error, behind = part[offset], errors[offset], slice(offset + 1, None)
            chosen = rule.choose(start, offset, part)
            torch.sub(column, chosen, out=error).div_(scale)
            column.copy_(chosen)
            part[behind].sub_(torch.outer(local[offset, behind], error, out=moves[behind]))
        columns[start:stop] = part
        columns[stop:] -= factor[start:stop, stop:].T @ errors
    return columns.T


def problem(rows: int, columns: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, Hessian and factor of one linear."""
    inputs = correlated(columns, seed, 2 * columns).to(DEVICE)
    hessian = 2 * inputs.T @ inputs
    factor = inverse_factor(hessian, 0.01)
    assert factor is not None
    return random(rows, columns, seed).to(DEVICE), hessian, factor


@pytest.mark.parametrize("method", ["gptq", "sparsegpt"])
def test_columns(method: str) -> None:
    weight, hessian, factor = problem(ROWS, COLUMNS, 0)
    replays = Replays()

    def before() -> Tensor:
        return eager_sweep(weight, factor, EagerRounding() if method == "gptq" else EagerSaliency(factor))

    def now() -> Tensor:
        nearest: Rule = rounding(BITS, GROUP, symmetric=True)
        rule = nearest if method == "gptq" else Saliency(factor, [ROWS], SPARSITY)
        return sweep(weight, factor, BLOCK, rule, replays)

    losses = [objective(found - weight, hessian) for found in (now(), before())]
    error = abs(losses[0] / losses[1] - 1)
    assert error < 1e-4 if CUDA else now().equal(before())
    report(f"{method}'s sweep of {ROWS} × {COLUMNS}", seconds(before), seconds(now), error)
    assert not replays.notes


def test_experts() -> None:
    experts = [problem(EXPERT_ROWS, EXPERT_COLUMNS, seed) for seed in range(EXPERTS)]
    weights, hessians = torch.stack([each[0] for each in experts]), torch.stack([each[1] for each in experts])
    replays = Replays()

    def before() -> Tensor:
        found = []
        for weight, hessian in zip(weights, hessians, strict=True):
            factor = inverse_factor(hessian, 0.01)
            assert factor is not None
            found.append(eager_sweep(weight, factor, EagerRounding()))
        return torch.stack(found)

    def now() -> Tensor:
        found = []
        for weight, hessian in zip(weights.split(16), hessians.split(16), strict=True):
            factor = inverse_factor(hessian, 0.01)
            assert factor is not None
            found.append(sweep(weight, factor, BLOCK, rounding(BITS, GROUP, symmetric=True), replays))
        return torch.cat(found)

    losses = [sum(map(objective, found - weights, hessians)) for found in (now(), before())]
    error = abs(losses[0] / losses[1] - 1)
    assert error < 1e-4 if CUDA else now().equal(before())
    report(f"{EXPERTS} experts of {EXPERT_ROWS} × {EXPERT_COLUMNS}", seconds(before), seconds(now), error)

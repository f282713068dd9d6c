"""The column sweep and its Hessians round as the published loops do, whatever is batched."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.interventions.compression.columns import sweep
from rayci.interventions.compression.grid import including_zero
from rayci.interventions.compression.hessian import hessians, inverse_factor
from rayci.interventions.compression.walk import walk
from rayci.testbed import collection
from tests.interventions.gptq_rule import rounding
from tests.interventions.surgery import correlated, gram, random
from tests.models import tiny

CONTEXT = Context(collection())


def in_the_published_order(weight: Tensor, factor: Tensor, bits: int, group: int, block: int) -> Tensor:
    """Row-major loops whose every product and sum rounds as in the authors' code."""
    weight, done = weight.clone(), torch.zeros_like(weight)
    grid = including_zero(weight, bits, weight.shape[1], symmetric=True)
    for start in range(0, weight.shape[1], block):
        part = weight[:, start : start + block].clone()
        local, errors = factor[start : start + block, start : start + block], torch.zeros_like(part)
        for i in range(part.shape[1]):
            if (start + i) % group == 0:
                grid = including_zero(weight[:, start + i : start + i + group], bits, group, symmetric=True)
            column = part[:, i].clone()
            done[:, start + i] = grid.round(column.unsqueeze(1)).flatten()
            errors[:, i] = (column - done[:, start + i]) / local[i, i]
            part[:, i:] -= errors[:, i].unsqueeze(1).matmul(local[i, i:].unsqueeze(0))
        weight[:, start + block :] -= errors.matmul(factor[start : start + block, start + block :])
    return done


@pytest.mark.parametrize(("rows", "columns", "bits"), [(64, 256, 4), (43, 192, 3)])
def test_it_rounds_as_the_published_loops_do(rows: int, columns: int, bits: int) -> None:
    # Not a bit may differ: a weight half-way between two levels moves all that follow in its row.
    factor = inverse_factor(gram(correlated(columns, 0, 1000)), 0.01)
    assert factor is not None
    weight, others = random(rows, columns, 0), random(32, columns, 1)
    expected = in_the_published_order(weight, factor, bits, 64, 64)
    assert sweep(weight, factor, 64, rounding(bits, 64, symmetric=True)).equal(expected)
    together = sweep(torch.cat([others, weight]), factor, 64, rounding(bits, 64, symmetric=True))
    assert together[32:].equal(expected)


def test_hessians_do_not_depend_on_the_batch_of_forward_work() -> None:
    subject, found = tiny(), []
    tokens = CONTEXT.calibration(subject.tokenizer, 7, 32)
    for batch in (7, 1, 3):
        found.append(hessians(next(walk(subject, tokens, batch))))
    for path, hessian in found[0].items():
        torch.testing.assert_close(found[1][path], hessian, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found[2][path], hessian, rtol=1e-5, atol=1e-6)
    inputs: list[Tensor] = []
    next(walk(subject, tokens, 7)).observe(lambda path, x: inputs.append(x))
    torch.testing.assert_close(found[0]["self_attn.q_proj"], 2 / 7 * inputs[0].T @ inputs[0], rtol=1e-4, atol=1e-4)

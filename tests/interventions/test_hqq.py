"""HQQ against its formulas in float64, and what its zeros between the levels ask of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rayci.context import Context
from rayci.criteria.cost import AverageBits, NominalBits
from rayci.criteria.update_survival import UpdateSurvival
from rayci.errors import InterventionError
from rayci.interventions.compression.grid import asymmetric
from rayci.interventions.compression.hqq import HalfQuadratic
from rayci.interventions.compression.magnitude import Magnitude
from rayci.model import modules
from rayci.testbed import collection
from tests.interventions.small import configured
from tests.models import differing, tiny, weights

CONTEXT = Context(collection(), batch_size=4)
GROUP = 16


def heavy_tailed(rows: int = 48, columns: int = 64) -> Tensor:
    """Student's t with three degrees of freedom, seeded."""
    generator = np.random.default_rng(0)
    return torch.tensor(generator.standard_t(3, (rows, columns)) * 0.02, dtype=torch.float32)


def by_the_formulas(weight: Tensor, bits: int, p: float, beta: float, kappa: float, iterations: int) -> Any:
    """Scales and zeros `[out, groups]` in float64, and how many iterations it took."""
    w = weight.double().numpy().reshape(len(weight), -1, GROUP)
    top = 2**bits - 1
    scale = (w.max(-1, keepdims=True) - w.min(-1, keepdims=True)) / top
    scale = np.maximum(scale, 0.5e-4)
    zero = -w.min(-1, keepdims=True) / scale
    least, taken = np.inf, 0
    for _ in range(iterations):
        q = np.clip(np.round(w / scale + zero), 0, top)
        x = w - scale * (q - zero)
        with np.errstate(divide="ignore"):
            e = np.sign(x) * np.maximum(0, np.abs(x) - np.abs(x) ** (p - 1) / beta)
        zero = (q - (w - e) / scale).mean(-1, keepdims=True)
        beta, taken = beta * kappa, taken + 1
        if np.abs(x).mean() >= least:
            break
        least = np.abs(x).mean()
    return scale.squeeze(-1), zero.squeeze(-1), taken


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(
    "settings", [{}, {"p": 1.0, "beta": 1e3}, {"beta": 1e4}, {"beta": 1e3, "kappa": 1.3, "iterations": 7}]
)
def test_scales_and_zeros_are_those_of_the_formulas(bits: int, settings: dict[str, Any]) -> None:
    made = HalfQuadratic(bits=bits, **settings)
    weight = heavy_tailed()
    grid = made.grid(weight, GROUP)
    scale, zero, taken = by_the_formulas(weight, bits, made.p, made.beta, made.kappa, made.iterations)
    np.testing.assert_allclose(grid.scale, scale, rtol=1e-6)
    assert taken > 1 and grid.zero is not None
    # A weight half-way between two levels may go either way in fp32, which moves its group's zero.
    assert np.isclose(grid.zero.numpy(), zero, rtol=1e-4, atol=1e-4).mean() > 0.98


def test_without_iterations_the_ends_are_levels() -> None:
    weight = heavy_tailed()
    groups = weight.view(len(weight), -1, GROUP)
    rounded = HalfQuadratic(bits=3, iterations=0).grid(weight, GROUP).round(weight).view_as(groups)
    torch.testing.assert_close(rounded.amax(-1), groups.amax(-1))
    torch.testing.assert_close(rounded.amin(-1), groups.amin(-1))


@pytest.mark.parametrize("power", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_rounding_to_nearest_errs_more_on_heavy_tails(bits: int, power: float) -> None:
    weight = heavy_tailed(256, 512)
    ours, nearest = HalfQuadratic(bits=bits).grid(weight, 64), asymmetric(weight, bits, 64)
    errors = [float((grid.round(weight) - weight).abs().pow(power).sum()) for grid in (ours, nearest)]
    assert errors[0] < errors[1] * (1 if bits == 2 else 0.97)


@pytest.mark.parametrize("value", [0.7, -0.7, 0.0, 1e-30])
def test_a_constant_group_is_met(value: float) -> None:
    weight = torch.full((1, GROUP), value)
    torch.testing.assert_close(HalfQuadratic(bits=2).grid(weight, GROUP).round(weight), weight, rtol=1e-6, atol=1e-20)


def test_zeros_of_a_pruner_stay_although_they_are_no_level() -> None:
    subject = tiny()
    subject.apply(Magnitude(sparsity=0.5), CONTEXT)
    before = weights(subject)
    subject.apply(configured("hqq"), CONTEXT)
    for name, module in subject.linears():
        assert (modules.weight(module) == 0).equal(before[f"{name}.weight"] == 0)
    assert AverageBits().measure(subject, CONTEXT).value == pytest.approx(0.5 * 1 + 0.5 * (4 + 32 / GROUP))
    assert NominalBits().measure(subject, CONTEXT).value == pytest.approx(3.5)
    kept = weights(subject)
    subject.apply(configured("hqq"), CONTEXT, "reproject")
    assert not differing(subject, kept)


def test_training_that_moves_weights_less_than_a_step_is_lost() -> None:
    subject = tiny()
    subject.remember_base()
    subject.apply(configured("ft"), CONTEXT)
    subject.apply(configured("hqq"), CONTEXT)
    assert 0 < UpdateSurvival().measure(subject, CONTEXT).value < 1


def test_weights_that_are_not_finite_fail_the_stage() -> None:
    subject = tiny()
    module = next(subject.linears())[1]
    modules.weight(module)[0, 0] = float("inf")
    with pytest.raises(InterventionError, match=r"hqq: the weights of .*q_proj are not finite"):
        subject.apply(configured("hqq"), CONTEXT)

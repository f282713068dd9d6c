"""AdamW with ε before the bias correction: a step worked by hand, and many against the formula in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rayci.interventions.unlearning.early_epsilon import early_epsilon_adamw
from rayci.interventions.unlearning.npo import NegativePreference
from rayci.interventions.unlearning.rmu import RepresentationMisdirection

BETA1, BETA2 = 0.9, 0.999


def from_scratch(start: Tensor, gradients: list[Tensor], lr: float, epsilon: float = 1e-6) -> Tensor:
    """m, v and √v + ε before the correction, in float64."""
    weight = start.double()
    mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
    for step, gradient in enumerate(gradients, start=1):
        mean = BETA1 * mean + (1 - BETA1) * gradient.double()
        square = BETA2 * square + (1 - BETA2) * gradient.double() ** 2
        size = lr * (1 - BETA2**step) ** 0.5 / (1 - BETA1**step)
        weight = weight - size * mean / (square.sqrt() + epsilon)
    return weight


def moved_by(optimizer: torch.optim.Optimizer, weight: Tensor, gradients: list[Tensor]) -> Tensor:
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight


def test_the_first_step_by_hand() -> None:
    # m = 2e-8, √v = √.001 · 2e-7 = 6.325e-9, step size lr · √.001 / .1 = .31623 lr:
    # .31623 · 2e-8 / (6.325e-9 + 1e-6) = .0062849 lr
    weight = torch.zeros(1)
    moved_by(early_epsilon_adamw([weight], lr=1.0), weight, [torch.tensor([2e-7])])
    assert weight.item() == pytest.approx(-0.0062849, rel=1e-4)


def test_at_the_authors_gradients_torchs_form_moves_a_weight_150_times_as_far() -> None:
    early, late, gradient = torch.zeros(1), torch.zeros(1), torch.tensor([2e-7])
    moved_by(early_epsilon_adamw([early], lr=1.0), early, [gradient])
    moved_by(torch.optim.AdamW([late], lr=1.0, weight_decay=0.0), late, [gradient])
    assert late.item() / early.item() == pytest.approx(151.5, rel=1e-2)


@pytest.mark.parametrize("scale", [1e-8, 2e-7, 1e-3, 1.0])
def test_many_steps_equal_the_formula(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(50, generator=generator)
    gradients = [scale * torch.randn(50, generator=generator) for _ in range(20)]
    weight = start.clone()
    moved_by(early_epsilon_adamw([weight], lr=0.1), weight, gradients)
    expected = from_scratch(start, gradients, 0.1)
    torch.testing.assert_close(weight.double() - start.double(), expected - start.double(), rtol=1e-3, atol=2e-6)


def test_rmu_steps_with_it_and_others_with_torchs() -> None:
    moved = {}
    for made in (RepresentationMisdirection(lr=1.0), NegativePreference(lr=1.0)):
        weight = torch.zeros(1)
        moved[made.name] = moved_by(made.optimizer([weight]), weight, [torch.tensor([2e-7])]).item()
    assert moved["rmu"] == pytest.approx(-0.0062849, rel=1e-4)
    assert moved["npo"] == pytest.approx(-0.95238, rel=1e-4)

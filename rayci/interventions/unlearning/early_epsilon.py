"""AdamW with ε added before the bias correction, as the removed `transformers.AdamW` had it.

    m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²
    w ← w − lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m / (√v + ε)

torch adds ε to √(v / (1 − β₂ᵗ)), after it. Divided through, the form above is torch's with
ε / √(1 − β₂ᵗ) for ε. At step 1 that is 32ε, and a weight moves by lr·g / (|g| + 32ε): where gradients
are near 2e-7 and ε is 1e-6, by .006 lr in place of the .95 lr of torch's form with its ε of 1e-8.
Weight decay stays torch's, before the step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from rayci.interventions.trainer import adamw

EPSILON = 1e-6
"""ε of `transformers.AdamW`."""


def late_epsilon(early: float, beta2: float, step: int) -> float:
    """What torch must add after the bias correction of step 1, 2, … for `early` to be added before it."""
    return float(early / (1 - beta2**step) ** 0.5)


def early_epsilon_adamw(
    weights: Sequence[Tensor], lr: float, weight_decay: float = 0.0, epsilon: float = EPSILON
) -> Optimizer:
    """The optimiser above, on torch's kernels; every weight must have a gradient at every step."""
    optimizer = adamw(list(weights), lr, weight_decay)
    steps = itertools.count(1)

    def correct(stepped: Optimizer, _args: Any, _kwargs: Any) -> None:
        step = next(steps)
        for group in stepped.param_groups:
            group["eps"] = late_epsilon(epsilon, group["betas"][1], step)

    optimizer.register_step_pre_hook(correct)
    return optimizer

"""AWQ's first step: per-channel scales that protect the channels that matter. Pure tensor maths.

    s = clamp(mean|x|^r, 1e−4) / √(max · min),   r in 0, .05, … .95       (arXiv 2306.00978, equation 5)
    duo:  s = clamp(mean|x|^r / (mean|w|^(1−r) + 1e−4), 1e−4) / √(max · min)

with mean|w| of weights divided by the largest of their group + 1e−6. Both added constants are
AutoAWQ's, against divisions by zero. The ratio with the strictly
smallest loss wins; the loss is the mean squared difference of the outputs that W and
Q(W · s) / s give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RATIOS = tuple(step / 20 for step in range(20))
"""Exponents that are tried."""

Quantise = Callable[[Tensor], Tensor]
"""`[out, in]` to its nearest levels."""
Loss = Callable[[Sequence[Tensor], float], float]
"""Mean squared output difference with these weights in place of the linears' own. Once it is
sure to reach the second argument any value from there on will do."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """The scales of one ratio, and what they lose."""

    scales: Tensor
    """fp32 `[in]`."""
    ratio: float
    loss: float


def relative_magnitude(weights: Sequence[Tensor], group: int) -> Tensor:
    """Mean over all rows of |w| divided by the largest of its group, `[in]`."""
    whole = torch.cat([weight.float() for weight in weights]).abs()
    groups = whole.view(len(whole), -1, group)
    return (groups / (groups.amax(-1, keepdim=True) + 1e-6)).view_as(whole).mean(0)


def scales_at(ratio: float, inputs: Tensor, weights: Tensor | None = None) -> Tensor:
    """Scales of one ratio from mean |x| and, for duo scaling, relative |w|, `[in]` each."""
    raw = inputs.pow(ratio)
    if weights is not None:
        raw = raw / (weights.pow(1 - ratio) + 1e-4)
    raw = raw.clamp(min=1e-4)
    scales = raw / (raw.max() * raw.min()).sqrt()
    return torch.where(torch.isfinite(scales), scales, torch.ones_like(scales))


def search(
    weights: Sequence[Tensor], inputs: Tensor, magnitude: Tensor | None, quantise: Quantise, loss: Loss
) -> Scaling | None:
    """The ratio whose quantised weights lose least; None where no loss is finite."""
    best: Scaling | None = None
    for ratio in RATIOS:
        scales = scales_at(ratio, inputs, magnitude)
        least = best.loss if best else math.inf
        lost = loss([quantise(weight.float() * scales) / scales for weight in weights], least)
        if lost < least:
            best = Scaling(scales, ratio, lost)
    return best


def linear_loss(weight: Tensor, gram: Tensor, tokens: int) -> Loss:
    """The loss of one linear without a forward pass: ‖X(W − Ŵ)ᵀ‖² = tr((W − Ŵ) XᵀX (W − Ŵ)ᵀ)."""

    def loss(candidates: Sequence[Tensor], least: float) -> float:
        delta = candidates[0] - weight.float()
        return float((delta @ gram * delta).sum() / (tokens * len(weight)))

    return loss

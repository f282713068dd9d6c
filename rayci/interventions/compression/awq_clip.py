"""AWQ's second step: shrink the range of each row's groups where that lowers the error. Pure tensor maths.

For every row and group of columns, max|w| · (1 − i/20), i = 0 … 9, is tried as the bound that
weights are clamped to before they are quantised; the strictly smallest output error of the
group wins. The error over the tokens X of a group is quadratic in the difference,

    ‖X_g (w − ŵ)‖² = (w − ŵ) X_gᵀX_g (w − ŵ)ᵀ,

so one Gram matrix per group replaces a pass over the tokens for each candidate.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rayci.interventions.compression.awq_scales import Quantise

STEPS, PARTS = 10, 20
"""Candidates, and the part of the maximum that one step takes off."""
CHUNK = 2**20
"""Weights worked on at once, which bounds memory."""


def clip_bounds(weight: Tensor, inputs: Tensor, group: int, quantise: Quantise) -> Tensor:
    """Bounds `[out, groups]` for `weight [out, in]` on sampled inputs `[tokens, in]`.

    `quantise` maps `[out, in]` to its levels, in groups of `group` columns.
    """
    tokens = inputs.float().view(len(inputs), -1, group).transpose(0, 1)
    # The smaller of two equal forms: [g, g] products of the inputs, or the inputs themselves.
    gram = tokens.transpose(1, 2) @ tokens if group <= tokens.shape[1] else None
    rows = max(1, CHUNK // weight.shape[1])
    return torch.cat([_bounds(part.float(), tokens, gram, quantise) for part in weight.split(rows)])


def clip(weight: Tensor, bounds: Tensor) -> Tensor:
    """`weight [out, in]` clamped to ± the bound of its row and group, fp32."""
    groups = weight.float().reshape(*bounds.shape, -1)
    return groups.clamp(-bounds.unsqueeze(-1), bounds.unsqueeze(-1)).view(weight.shape)


def _bounds(weight: Tensor, tokens: Tensor, gram: Tensor | None, quantise: Quantise) -> Tensor:
    groups = len(tokens)
    largest = weight.reshape(len(weight), groups, -1).abs().amax(-1)
    best, least = largest.clone(), torch.full_like(largest, torch.inf)
    for step in range(STEPS):
        bounds = largest * (1 - step / PARTS)
        delta = (quantise(clip(weight, bounds)) - weight).view(len(weight), groups, -1).transpose(0, 1)
        if gram is None:
            errors = (delta @ tokens.transpose(1, 2)).square_().sum(-1).T
        else:
            errors = (delta @ gram).mul_(delta).sum(-1).T
        better = errors < least
        least = torch.where(better, errors, least)
        best = torch.where(better, bounds, best)
    return best

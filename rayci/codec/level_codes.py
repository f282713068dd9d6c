"""Weights on a grid as whole numbers, where that loses nothing. Pure tensor maths."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rayci.interventions.compression.grid import Grid
from rayci.model.weight_bits import same_bits

_AT_ONCE = 2**20
"""Weights of the rows that are tried at a time: few enough for a cache, so many that a GPU is not asked too often."""


def level_codes(weight: Tensor, grid: Grid) -> Tensor | None:
    """Codes of `weight [out, in]`, int16, that the grid gives back bit for bit; None where it does not.

    Codes are read from the weights, which decides them: neighbours are a whole scale apart, and no
    dtype rounds a product of at most 2^8 scales by half of one.
    """
    found = []
    rows = max(1, _AT_ONCE // max(1, weight.shape[1]))
    for start in range(0, len(weight), rows):
        part, here = weight[start : start + rows], slice(start, start + rows)
        own = replace(grid, scale=grid.scale[here], zero=grid.zero[here])
        codes = own.codes(part)
        if not same_bits(own.values(codes).to(weight.dtype), part):
            return None
        found.append(codes.to(torch.int16))
    return torch.cat(found) if found else None

"""Weights on a grid as whole numbers, where that loses nothing. Pure tensor maths."""

from __future__ import annotations

import torch
from torch import Tensor

from rayci.interventions.compression.grid import Grid
from rayci.model.weight_bits import same_bits

_AT_ONCE = 2**20
"""Weights of the rows that are tried at a time: few enough for a cache, so many that a GPU is not asked too often."""


def level_codes(weight: Tensor, grid: Grid) -> Tensor | None:
    """Codes of `weight [out, in]`, int16, that the grid gives back bit for bit; None where it does not.

    Codes are read from the weights, which decides them: no dtype rounds a level by half of what lies between it and
    its neighbour.
    """
    found = []
    rows = max(1, _AT_ONCE // max(1, weight.shape[1]))
    for start in range(0, len(weight), rows):
        part, own = weight[start : start + rows], grid.rows(slice(start, start + rows))
        codes = own.codes(part)
        if not same_bits(own.values(codes).to(weight.dtype), part):
            return None
        found.append(codes.to(torch.int16))
    return torch.cat(found) if found else None

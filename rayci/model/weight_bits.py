"""Weights as their bits: whether two are the very same numbers. Pure tensor maths."""

from __future__ import annotations

import torch
from torch import Tensor

_BITS_OF = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one dtype and shape and are equal bit for bit: 0.0 is not −0.0, a NaN equals itself."""
    return one.dtype == other.dtype and torch.equal(bits_of(one), bits_of(other))


def bits_of(values: Tensor) -> Tensor:
    """The bits of every value as a whole number of the same size; the same memory where that is contiguous."""
    return values.contiguous().view(_BITS_OF[values.element_size()])

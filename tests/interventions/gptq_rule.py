"""GPTQ's rule of the column sweep, as its settings make it."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from rayci.interventions.compression.gptq import Rounding
from rayci.interventions.compression.grid import Even, Grid, including_zero


def rounding(
    bits: int, group: int, *, symmetric: bool, laid: Grid | None = None, zeros: Tensor | None = None
) -> Rounding:
    """The rule on levels a scale apart."""
    lay = partial(including_zero, bits=bits, group=group, symmetric=symmetric)
    return Rounding(Even(0, 2**bits - 1), group, lay, laid=laid, zeros=zeros)

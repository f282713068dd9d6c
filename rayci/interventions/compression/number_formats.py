"""Number formats that hardware and libraries store weights in: what they round to, and what their scales are.

    format  numbers              columns that share a scale  scale
    fp8     E4M3, up to ± 448    the row, or any number      max|w| / 448, fp32
    mxfp4   E2M1, up to ± 6      32                          2^(⌊log₂ max|w|⌋ − 2), E8M0
    nvfp4   E2M1, up to ± 6      16                          max|w| / 6 in E4M3 over one fp32 number of the matrix
    nf4     16 of a table        64, or any number           max|w|, fp32

Sources. fp8: arXiv 2209.05433, scaled per output channel as in compressed-tensors. mxfp4: OCP Microscaling Formats
v1.0, sections 5.2 and 6.3; a number between 6 and 8 becomes 6. nvfp4: arXiv 2509.25149, section 2, with the tensor's
scale as in compressed-tensors. nf4: arXiv 2305.14314, appendix E, blocks as in bitsandbytes, but never across rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rayci.interventions.compression.float_levels import Floats, Table, exponent, power_of_two
from rayci.interventions.compression.grid import Grid

E2M1 = Floats(mantissa=1, lowest=0, top=6.0)
"""0 .5 1 1.5 2 3 4 6."""
E4M3 = Floats(mantissa=3, lowest=-6, top=448.0)
"""torch's float8_e4m3fn but for its NaN."""
NF4 = Table(
    (
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    )
)
"""Quantiles of a normal distribution, the largest of them 1; arXiv 2305.14314, appendix E."""


@dataclass(frozen=True)
class NumberFormat:
    """Levels that are numbers of a format times a scale, and the scale of every group."""

    name: str
    bits: int
    numbers: Floats | Table
    block: int
    """Columns that share a scale, −1 for the whole row."""
    fixed: bool = False
    """Whether the format allows no other number of columns."""
    scale_bits: int = 32
    tensor_bits: int = 0
    """Bits that a matrix takes beside its groups."""

    def codes(self, weight: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """Codes of fp32 weights, whole numbers in fp32."""
        return self.numbers.codes(weight / scale)

    def values(self, codes: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """The weights that codes stand for, fp32."""
        return self.numbers.values(codes).mul_(scale)

    def nearest(self, weight: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """The nearest level of every fp32 weight, fp32."""
        return self.numbers.nearest(weight / scale).mul_(scale)

    def tensor_scale(self, weight: Tensor) -> Tensor | None:
        """What all scales of a matrix `[…, out, in]` are multiplied by before they are rounded, fp32 `[…, 1, 1]`."""
        return None

    def lay(self, weight: Tensor, group: int, tensor_scale: Tensor | None = None) -> Grid:
        """The grid of `weight [out, in]` in groups of columns, or of several, `[…, out, in]`.

        `tensor_scale`: that of the matrix which the weights are part of; None where they are the matrix.
        """
        tensor_scale = self.tensor_scale(weight) if tensor_scale is None else tensor_scale
        largest = weight.float().unflatten(-1, (-1, group)).abs().amax(-1)
        return Grid(self, self.scales(largest, tensor_scale), tensor_scale=tensor_scale)

    def scales(self, largest: Tensor, tensor_scale: Tensor | None) -> Tensor:
        """The scale of every group from its largest |w|; 1, which keeps them, for zeros alone."""
        scale = largest / self.numbers.top
        return scale.masked_fill(scale == 0, 1)

    def stored(self, grid: Grid) -> Tensor:
        """The scales in the dtype in which the format holds them, no bit lost."""
        return grid.scale

    def restored(self, scale: Tensor, tensor_scale: Tensor | None) -> Tensor:
        """The scales of `stored`, fp32."""
        return scale


@dataclass(frozen=True)
class PowersOfTwo(NumberFormat):
    """Scales are powers of two, held as their exponent + 127 (E8M0).

    Groups below 2^−124, zeros among them, take 2^−126, fp32's least normal number, where E8M0 has one more.
    compressed-tensors doubles the scale where a weight would be 7 or more of them, which here becomes 6.
    """

    def scales(self, largest: Tensor, tensor_scale: Tensor | None) -> Tensor:
        below_top = 2.0 ** math.floor(math.log2(self.numbers.top))
        return power_of_two(largest).div_(below_top).clamp_(min=2.0**-126)

    def stored(self, grid: Grid) -> Tensor:
        return exponent(grid.scale).add_(127).to(torch.uint8)

    def restored(self, scale: Tensor, tensor_scale: Tensor | None) -> Tensor:
        return (scale.to(torch.int32) << 23).view(torch.float32)


@dataclass(frozen=True)
class ScaledScales(NumberFormat):
    """Scales are E4M3 numbers, from 2^−9 to 448, over one fp32 number that makes the largest of them 448.

    A group whose largest weight is less than 4e−6 of the matrix's, zeros among them, takes the least. The fp32 number
    is that of a matrix whose largest weight is 2^−100 where it is less. compressed-tensors has .125 in the place of 0.
    """

    def tensor_scale(self, weight: Tensor) -> Tensor:
        largest = weight.float().abs().amax((-2, -1), keepdim=True)
        return E4M3.top * self.numbers.top / largest.clamp(min=2.0**-100)

    def scales(self, largest: Tensor, tensor_scale: Tensor | None) -> Tensor:
        assert tensor_scale is not None
        return E4M3.nearest((largest / self.numbers.top).mul_(tensor_scale).clamp_(min=2.0**-9)).div_(tensor_scale)

    def stored(self, grid: Grid) -> Tensor:
        assert grid.tensor_scale is not None
        return (grid.scale * grid.tensor_scale).to(torch.float8_e4m3fn)

    def restored(self, scale: Tensor, tensor_scale: Tensor | None) -> Tensor:
        assert tensor_scale is not None
        return scale.float().div_(tensor_scale)


FORMATS: Mapping[str, NumberFormat] = {
    made.name: made
    for made in (
        NumberFormat("fp8", 8, E4M3, block=-1),
        PowersOfTwo("mxfp4", 4, E2M1, block=32, fixed=True, scale_bits=8),
        ScaledScales("nvfp4", 4, E2M1, block=16, fixed=True, scale_bits=8, tensor_bits=32),
        NumberFormat("nf4", 4, NF4, block=64),
    )
}
"""All formats by name."""

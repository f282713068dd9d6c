"""Levels of short floating-point numbers, and of a table. Pure tensor maths.

A format of m mantissa bits, whose least exponent is e, has the magnitudes

    k · 2^(e−m)  for k < 2^m  (denormals),     (1 + k · 2^−m) · 2^i  for i = e, e + 1, … up to the largest

of either sign, and one 0. Their order is that of their bits without the sign: code ± j is the j-th of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_EXPONENT = 0x7F800000
"""The exponent's bits of an fp32 number."""
_FP32_MANTISSA, _FP32_BIAS = 23, 127
_AT_ONCE = 2**20
"""Values that are looked up at a time: few enough for a cache, so many that a GPU is not asked too often."""


@dataclass(frozen=True, slots=True)
class Floats:
    """The numbers of a format without infinities; what lies beyond the largest becomes the largest."""

    mantissa: int
    """Bits of the mantissa that are stored."""
    lowest: int
    """Exponent of the smallest normal number."""
    top: float
    """The largest number."""

    def nearest(self, values: Tensor) -> Tensor:
        """The nearest number of every fp32 value, halves to the even mantissa, −0 as 0; fp32.

        A sum with 1.5 · 2^(23−m) times a value's power of two has no bits below the format's last one: fp32 arithmetic
        rounds them away.
        """
        values = values.clamp(-self.top, self.top)
        shift = power_of_two(values).clamp_(min=2.0**self.lowest).mul_(1.5 * 2 ** (_FP32_MANTISSA - self.mantissa))
        return values.add_(shift).sub_(shift)

    def codes(self, values: Tensor) -> Tensor:
        """Code of the nearest number of every fp32 value, whole numbers in fp32."""
        nearest = self.nearest(values)
        exponents = exponent(nearest).sub_(self.lowest).clamp_(min=0)
        places = nearest.abs().mul_(_two_to(self.mantissa - self.lowest - exponents))
        return places.add_(exponents << self.mantissa).copysign_(nearest)

    def values(self, codes: Tensor) -> Tensor:
        """The number of every code, fp32."""
        places = codes.abs().to(torch.int32)
        exponents = (places >> self.mantissa).sub_(1).clamp_(min=0)
        places = places.sub_(exponents << self.mantissa)
        return (places * _two_to(exponents + (self.lowest - self.mantissa))).mul_(codes.sign())


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers from a table, in ascending order; code j is the j-th, from 0. A value in the middle goes to the lower."""

    numbers: tuple[float, ...]

    @property
    def top(self) -> float:
        """The largest number."""
        return self.numbers[-1]

    def nearest(self, values: Tensor) -> Tensor:
        """The nearest number of every fp32 value, fp32."""
        cells = _cells(self.numbers, values.device)
        return cells.look_up(cells.nearest, values)

    def codes(self, values: Tensor) -> Tensor:
        """Code of the nearest number of every fp32 value, whole numbers in fp32."""
        cells = _cells(self.numbers, values.device)
        return cells.look_up(cells.codes, values)

    def values(self, codes: Tensor) -> Tensor:
        """The number of every code, fp32."""
        return _cells(self.numbers, codes.device).numbers.take(codes.long())


@dataclass(frozen=True, slots=True)
class _Cells:
    """The range of a table in equal cells, so narrow that none holds more than one middle between neighbours.

    Two look-ups find the number nearest to a value, in a fraction of a binary search's time.
    """

    numbers: Tensor
    first: float
    last: float
    width: float
    middles: Tensor
    """fp32 `[cells]`, the first middle from the beginning of each cell on; infinite beyond the last."""
    codes: Tensor
    """fp32 `[2 · cells]`, the code of what lies in each cell up to its middle, then beyond it."""
    nearest: Tensor
    """fp32 `[2 · cells]`, the numbers of the codes."""

    def look_up(self, of_halves: Tensor, values: Tensor) -> Tensor:
        """What `of_halves` holds for the half of a cell that each value lies in."""
        found = torch.empty(values.shape, device=values.device)
        for part, place in zip(values.flatten().split(_AT_ONCE), found.view(-1).split(_AT_ONCE), strict=True):
            torch.index_select(of_halves, 0, self._halves(part), out=place)
        return found

    def _halves(self, values: Tensor) -> Tensor:
        """The half of a cell that each of `values` lies in, int32; what is not a number lies in some."""
        places = values.clamp(self.first, self.last).sub_(self.first).mul_(1 / self.width)
        cells = places.to(torch.int32).clamp_(0, len(self.middles) - 1)
        beyond = values > self.middles.index_select(0, cells)
        return cells.mul_(2).add_(beyond)


@cache
def _cells(table: tuple[float, ...], device: torch.device) -> _Cells:
    numbers, first, last = torch.tensor(table), table[0], table[-1]
    middles = (numbers[1:] + numbers[:-1]) / 2
    count = int((last - first) / float(middles.diff().min())) + 1
    width = (last - first) / count
    # The last cell is that of the last number alone.
    before = torch.searchsorted(middles, first + width * torch.arange(count + 1))
    codes = torch.stack([before, (before + 1).clamp(max=len(middles))], 1).flatten()
    infinite = torch.tensor([torch.inf])
    held = (numbers, torch.cat([middles, infinite])[before], codes.float(), numbers[codes])
    whole, after, of_half, nearest = (part.to(device) for part in held)
    return _Cells(whole, first, last, width, after, of_half, nearest)


def power_of_two(values: Tensor) -> Tensor:
    """The largest power of two that is no larger than |x|, of every fp32 value; 0 below fp32's normal numbers."""
    return values.view(torch.int32).bitwise_and(_EXPONENT).view(torch.float32)


def exponent(values: Tensor) -> Tensor:
    """⌊log₂|x|⌋ of every fp32 value, int32; −127 below fp32's normal numbers."""
    return values.view(torch.int32).bitwise_and(_EXPONENT).bitwise_right_shift_(_FP32_MANTISSA).sub_(_FP32_BIAS)


def _two_to(exponents: Tensor) -> Tensor:
    """2^x of int32 from −126 to 127, exactly, fp32."""
    return (exponents + _FP32_BIAS).bitwise_left_shift_(_FP32_MANTISSA).view(torch.float32)

"""Quantisation grids: levels of every group, rounding to them, and back. Pure tensor maths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor


class Levels(Protocol):
    """What codes stand for. Scales, and zeros where there are some, are as many as weights, or broadcast."""

    def codes(self, weight: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """Codes of fp32 weights, whole numbers in fp32."""

    def values(self, codes: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """The weights that codes stand for, fp32."""

    def nearest(self, weight: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """`values` of `codes`: the nearest level of every fp32 weight, fp32."""


@dataclass(frozen=True, slots=True)
class Even:
    """Levels a scale apart: w = (code − zero) · scale with low ≤ code ≤ high; halves round to even."""

    low: int
    high: int

    def codes(self, weight: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """Codes of fp32 weights, whole numbers in fp32."""
        return torch.round(weight / scale).add_(*zero).clamp_(self.low, self.high)

    def values(self, codes: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """The weights that codes stand for, fp32."""
        return torch.sub(codes, *zero).mul_(scale)

    def nearest(self, weight: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """The nearest level of every fp32 weight, fp32."""
        return self.codes(weight, scale, *zero).sub_(*zero).mul_(scale)


@dataclass(frozen=True, slots=True)
class Offset(Even):
    """Levels a scale apart whose zero is any number, so that 0 need be none of them."""

    def codes(self, weight: Tensor, scale: Tensor, *zero: Tensor) -> Tensor:
        """Codes of fp32 weights, whole numbers in fp32."""
        return (weight / scale).add_(*zero).round_().clamp_(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Grid:
    """Levels, placed for every group of columns of a row."""

    levels: Levels
    scale: Tensor
    """fp32 `[out, groups]`, never 0."""
    zero: Tensor | None = None
    """fp32 `[out, groups]`: the code of 0 in each group, a whole number but with `Offset`. None where all groups have
    the same."""
    index: Tensor | None = None
    """int64 `[in]`, the group of every column; None where groups are runs of columns."""
    tensor_scale: Tensor | None = None
    """fp32 `[out or 1, 1]`, what scales were multiplied by before they were rounded; None where they were not."""

    def codes(self, weight: Tensor) -> Tensor:
        """Codes of `weight [out, in]`, whole numbers in fp32 `[out, in]`."""
        return self.levels.codes(weight.float(), *self.by_column(weight.shape[1]))

    def values(self, codes: Tensor) -> Tensor:
        """The weights that codes stand for, fp32 `[out, in]`."""
        return self.levels.values(codes, *self.by_column(codes.shape[1]))

    def round(self, weight: Tensor) -> Tensor:
        """The nearest level of every weight, fp32 `[out, in]`."""
        return self.levels.nearest(weight.float(), *self.by_column(weight.shape[1]))

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """Scale and, where there is one, zero."""
        return (self.scale,) if self.zero is None else (self.scale, self.zero)

    def group_of_column(self, columns: int) -> Tensor:
        """The group of each of `columns` columns, int64 `[in]`."""
        if self.index is not None:
            return self.index
        return torch.arange(columns, device=self.scale.device) // (columns // self.scale.shape[-1])

    def rows(self, rows: slice) -> Grid:
        """The grid of some rows."""
        return replace(self, scale=self.scale[rows], zero=None if self.zero is None else self.zero[rows])

    def by_column(self, columns: int) -> tuple[Tensor, ...]:
        """`parts` of every weight, `[out, in]`."""
        if self.index is not None:
            return tuple(part[:, self.index] for part in self.parts)
        return tuple(part.repeat_interleave(columns // part.shape[1], dim=1) for part in self.parts)


def asymmetric(weight: Tensor, bits: int, group: int) -> Grid:
    """Group-wise grid over [min, max]: scale (max − min)/(2^b − 1), zero round(−min/scale).

    The range need not include 0. A constant group is met exactly.
    """
    groups = weight.float().reshape(weight.shape[0], -1, group)
    low, high = groups.amin(-1), groups.amax(-1)
    steps = 2**bits - 1
    scale = (high - low) / steps
    # A constant group has no range: one step of its own size puts it on the grid.
    scale = torch.where(scale > 0, scale, torch.where(low != 0, low.abs(), torch.ones_like(low)))
    return Grid(Even(0, steps), scale, torch.round(-low / scale))


def absmax(weight: Tensor, bits: int, group: int, *, per_tensor: bool = False) -> Grid:
    """Symmetric grid Δ = max|w| / 2^(b−1), codes clamped to [−2^(b−1), 2^(b−1) − 1].

    Per tensor, per output row (group = columns) or per group; arXiv 2410.16454, section 3.
    """
    groups = weight.float().abs().reshape(weight.shape[0], -1, group)
    top = groups.amax().expand(groups.shape[:2]) if per_tensor else groups.amax(-1)
    half = 2 ** (bits - 1)
    scale = torch.where(top > 0, top / half, torch.ones_like(top)).contiguous()
    return Grid(Even(-half, half - 1), scale, torch.zeros_like(scale))


def including_zero(weight: Tensor, bits: int, group: int, *, symmetric: bool) -> Grid:
    """GPTQ's grid of a weight `[…, out, in]`: the range always includes 0, which is met exactly.

    Asymmetric scale (max − min)/(2^b − 1), zero round(−min/scale); symmetric scale
    2 · max|w|/(2^b − 1), zero 2^(b−1). A group of zeros has the range −1 to 1.
    """
    groups = weight.float().unflatten(-1, (-1, group))
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    steps = 2**bits - 1
    empty = (high - low) / steps == 0
    low, high = low.masked_fill(empty, -1), high.masked_fill(empty, 1)
    scale = (high - low) / steps
    zero = torch.full_like(scale, 2 ** (bits - 1)) if symmetric else torch.round(-low / scale)
    return Grid(Even(0, steps), scale, zero)


def activation_aware(weight: Tensor, bits: int, group: int, *, symmetric: bool) -> Grid:
    """AWQ's grid: the range need not include 0, its width is at least 1e−5.

    Asymmetric scale (max − min)/(2^b − 1), zero clamp(−round(min/scale), 0, 2^b − 1); symmetric
    scale max|w|/(2^(b−1) − 1), zero 2^(b−1).
    """
    groups = weight.float().reshape(weight.shape[0], -1, group)
    steps, half = 2**bits - 1, 2 ** (bits - 1)
    if symmetric:
        scale = groups.abs().amax(-1).clamp(min=1e-5) / (half - 1)
        return Grid(Even(0, steps), scale, torch.full_like(scale, half))
    low = groups.amin(-1)
    scale = (groups.amax(-1) - low).clamp(min=1e-5) / steps
    return Grid(Even(0, steps), scale, (-torch.round(low / scale)).clamp(0, steps))

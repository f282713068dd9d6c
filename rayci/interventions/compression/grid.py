"""Quantisation grids: levels of every group, rounding to them, and back. Pure tensor maths."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Grid:
    """w = (code − zero) · scale with low ≤ code ≤ high, per group of columns of a row."""

    scale: Tensor
    """fp32 `[out, groups]`, never 0."""
    zero: Tensor
    """fp32 `[out, groups]`, whole numbers."""
    low: int
    high: int
    index: Tensor | None = None
    """int64 `[in]`, the group of every column; None where groups are runs of columns."""

    def codes(self, weight: Tensor) -> Tensor:
        """Codes of `weight [out, in]`, whole numbers in fp32 `[out, in]`; halves round to even."""
        columns = weight.shape[1]
        codes = torch.round(weight.float() / self._by_column(self.scale, columns))
        return codes.add_(self._by_column(self.zero, columns)).clamp_(self.low, self.high)

    def values(self, codes: Tensor) -> Tensor:
        """The weights that codes stand for, fp32 `[out, in]`."""
        columns = codes.shape[1]
        return (codes - self._by_column(self.zero, columns)).mul_(self._by_column(self.scale, columns))

    def round(self, weight: Tensor) -> Tensor:
        """The nearest grid point of every weight, fp32 `[out, in]`."""
        return self.values(self.codes(weight))

    def group_of_column(self, columns: int) -> Tensor:
        """The group of each of `columns` columns, int64 `[in]`."""
        if self.index is not None:
            return self.index
        return torch.arange(columns, device=self.scale.device) // (columns // self.scale.shape[-1])

    def _by_column(self, of_group: Tensor, columns: int) -> Tensor:
        if self.index is not None:
            return of_group[:, self.index]
        return of_group.repeat_interleave(columns // of_group.shape[1], dim=1)


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
    return Grid(scale, torch.round(-low / scale), 0, steps)


def absmax(weight: Tensor, bits: int, group: int, *, per_tensor: bool = False) -> Grid:
    """Symmetric grid Δ = max|w| / 2^(b−1), codes clamped to [−2^(b−1), 2^(b−1) − 1].

    Per tensor, per output row (group = columns) or per group; arXiv 2410.16454, section 3.
    """
    groups = weight.float().abs().reshape(weight.shape[0], -1, group)
    top = groups.amax().expand(groups.shape[:2]) if per_tensor else groups.amax(-1)
    half = 2 ** (bits - 1)
    scale = torch.where(top > 0, top / half, torch.ones_like(top)).contiguous()
    return Grid(scale, torch.zeros_like(scale), -half, half - 1)


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
    return Grid(scale, zero, 0, steps)


def activation_aware(weight: Tensor, bits: int, group: int, *, symmetric: bool) -> Grid:
    """AWQ's grid: the range need not include 0, its width is at least 1e−5.

    Asymmetric scale (max − min)/(2^b − 1), zero clamp(−round(min/scale), 0, 2^b − 1); symmetric
    scale max|w|/(2^(b−1) − 1), zero 2^(b−1).
    """
    groups = weight.float().reshape(weight.shape[0], -1, group)
    steps, half = 2**bits - 1, 2 ** (bits - 1)
    if symmetric:
        scale = groups.abs().amax(-1).clamp(min=1e-5) / (half - 1)
        return Grid(scale, torch.full_like(scale, half), 0, steps)
    low = groups.amin(-1)
    scale = (groups.amax(-1) - low).clamp(min=1e-5) / steps
    return Grid(scale, (-torch.round(low / scale)).clamp(0, steps), 0, steps)

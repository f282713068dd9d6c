"""A weight on its grid as whole numbers: codes, scales and zero points. Pure tensor maths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rayci.codec.level_codes import level_codes
from rayci.interventions.compression.grid import Even, Grid


class OffGridError(Exception):
    """Why a weight cannot be told by codes."""


@dataclass(frozen=True, slots=True)
class Codes:
    """w = (code − zero) · scale in fp32, rounded to the dtype of the weights; leading dimensions are experts."""

    codes: Tensor
    """int8 `[…, out, in]`, −2^(b−1) to 2^(b−1) − 1."""
    scale: Tensor
    """fp32 `[…, out, groups]`; groups are runs of columns."""
    zero: Tensor
    """int8 `[…, out, groups]`, in the range of the codes; 0 everywhere where levels lie around 0."""

    @classmethod
    def of(cls, weight: Tensor, grid: Grid, bits: int) -> Codes:
        """The codes of `weight [out, in]` on the grid that a quantiser laid, on the CPU.

        Raises OffGridError where a weight is off the grid (an edit moved it), or the format has no place for the grid.
        """
        if not isinstance(grid.levels, Even) or grid.zero is None:
            raise OffGridError("its levels are not a scale apart, and no other grid is packed")
        if grid.index is not None:
            raise OffGridError("its groups are no runs of columns (act_order)")
        codes = level_codes(weight, grid)
        if codes is None:
            raise OffGridError("its weights are off the grid")
        half = 2 ** (bits - 1)
        offset = grid.levels.low + half
        zero = grid.zero - offset
        if bool((zero < -half).any()) or bool((zero >= half).any()):
            raise OffGridError("a group whose weights have one sign has its zero beyond its levels")
        return cls(codes.sub_(offset).to(torch.int8).cpu(), grid.scale.cpu(), zero.to(torch.int8).cpu())

    @classmethod
    def stacked(cls, parts: Sequence[Codes]) -> Codes:
        """The codes of experts, one after the other."""
        return cls(*(torch.stack([getattr(part, name) for part in parts]) for name in ("codes", "scale", "zero")))

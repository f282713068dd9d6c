"""A weight on its grid as whole numbers: codes, scales and zero points. Pure tensor maths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from rayci.codec.level_codes import level_codes
from rayci.interventions.compression.grid import Even, Grid
from rayci.interventions.compression.number_formats import NumberFormat

PACKED_AS: Mapping[str, str] = {
    "int": "pack-quantized",
    "fp8": "float-quantized",
    "mxfp4": "mxfp4-pack-quantized",
    "nvfp4": "nvfp4-pack-quantized",
}
"""Levels a scale apart, or a number format -> the format of compressed-tensors that holds them."""


class OffGridError(Exception):
    """Why a weight cannot be told by codes."""


@dataclass(frozen=True, slots=True)
class Codes:
    """Tensors that tell a weight; leading dimensions are experts.

    w = (code − zero) · scale in fp32, or the code's number · scale; rounded to the dtype of the weights.
    """

    codes: Tensor
    """int8 `[…, out, in]`, −2^(b−1) to 2^(b−1) − 1; of a number format its magnitude's place with the number's sign."""
    scale: Tensor
    """`[…, out, groups]`, fp32, or as the number format holds them; groups are runs of columns."""
    zero: Tensor | None = None
    """int8 `[…, out, groups]`, in the range of the codes; 0 everywhere where levels lie around 0."""
    tensor_scale: Tensor | None = None
    """fp32 `[1]`, what the scales of a number format are multiplied by."""

    @classmethod
    def of(cls, weight: Tensor, grid: Grid, bits: int) -> Codes:
        """The codes of `weight [out, in]` on the grid that a quantiser laid, on the CPU.

        Raises OffGridError where a weight is off the grid (an edit moved it), or the format has no place for the grid.
        """
        if grid.index is not None:
            raise OffGridError("its groups are no runs of columns (act_order)")
        levels = grid.levels
        if type(levels) is not Even and not (isinstance(levels, NumberFormat) and levels.name in PACKED_AS):
            said = f"numbers of {levels.name}" if isinstance(levels, NumberFormat) else "zeros between two levels"
            raise OffGridError(f"compressed-tensors has no place for {said}")
        codes = level_codes(weight, grid)
        if codes is None:
            raise OffGridError("its weights are off the grid")
        return _of_numbers(codes, grid, levels) if isinstance(levels, NumberFormat) else _of_levels(codes, grid, bits)

    @classmethod
    def stacked(cls, parts: Sequence[Codes]) -> Codes:
        """The codes of experts, one after the other."""
        names = [field.name for field in fields(cls) if getattr(parts[0], field.name) is not None]
        return cls(**{name: torch.stack([getattr(part, name) for part in parts]) for name in names})


def _of_numbers(codes: Tensor, grid: Grid, numbers: NumberFormat) -> Codes:
    tensor_scale = None if grid.tensor_scale is None else grid.tensor_scale.flatten()[:1].cpu()
    return Codes(codes.to(torch.int8).cpu(), numbers.stored(grid).cpu(), tensor_scale=tensor_scale)


def _of_levels(codes: Tensor, grid: Grid, bits: int) -> Codes:
    assert isinstance(grid.levels, Even) and grid.zero is not None
    half = 2 ** (bits - 1)
    offset = grid.levels.low + half
    zero = grid.zero - offset
    if bool((zero < -half).any()) or bool((zero >= half).any()):
        raise OffGridError("a group whose weights have one sign has its zero beyond its levels")
    return Codes(codes.sub_(offset).to(torch.int8).cpu(), grid.scale.cpu(), zero.to(torch.int8).cpu())
